import { describe, expect, it } from 'vitest';
import { expectedFiles, renameFiles } from '#agent/restore/expected-files.ts';

const expected = (paths: readonly string[], renames: Readonly<Record<string, string>> = {}): readonly string[] =>
  [...expectedFiles(paths, new Map(Object.entries(renames)))].sort();

// Names as mariadb-backup 10.11.19 sent them.
describe('what must be in the directory after a backup was applied', () => {
  it('is every tablespace and every file of a schema directory', () => {
    expect(
      expected(['ibdata1', 'undo001', 'app/a.ibd', 'app/a.frm', 'app/p#P#p0.ibd', 'app/my.MYD', 'app/db.opt']),
    ).toEqual(['app/a.frm', 'app/a.ibd', 'app/db.opt', 'app/my.MYD', 'app/p#P#p0.ibd', 'ibdata1', 'undo001']);
  });

  it('is not what belongs to the engine', () => {
    expect(
      expected(['xtrabackup_checkpoints', 'xtrabackup_info', 'backup-my.cnf', 'ib_logfile0', 'aria_log_control']),
    ).toEqual([]);
  });

  it('is the tablespace where an increment has its changed pages', () => {
    expect(expected(['app/a.ibd.delta', 'app/a.ibd.meta', 'ibdata1.delta', 'ibdata1.meta'])).toEqual([
      'app/a.ibd',
      'ibdata1',
    ]);
  });

  it('is the tablespace of a table that was created while the backup was taken, under either engine', () => {
    expect(expected(['app/n.new', 'app/i.new.delta', 'app/i.new.meta', 'app/x.ibd.new'])).toEqual([
      'app/i.ibd',
      'app/n.ibd',
      'app/x.ibd',
    ]);
  });

  it('is not the tablespace of a table that was dropped while the backup was taken', () => {
    expect(expected(['app/a.ibd', 'app/d.ibd', 'app/d.del'])).toEqual(['app/a.ibd']);
  });

  it('is the tablespace under its new name where the table was renamed', () => {
    expect(expected(['app/a.ibd.delta', 'app/a.ren'], { 'app/a': 'db2/b' })).toEqual(['db2/b.ibd']);
  });

  it('is both where two tables exchanged their names', () => {
    expect(
      expected(['app/a.ibd', 'app/b.ibd', 'app/a.ren', 'app/b.ren'], { 'app/a': 'app/b', 'app/b': 'app/a' }),
    ).toEqual(['app/a.ibd', 'app/b.ibd']);
  });

  it('is the new table where a name was dropped and used again', () => {
    expect(expected(['app/a.ibd', 'app/a.del', 'app/a.new'])).toEqual(['app/a.ibd']);
  });
});

it('knows the files that hold a new name', () => {
  expect([...renameFiles(['app/a.ibd', 'app/a.ren', './app/b.ren'])]).toEqual([
    ['app/a.ren', 'app/a'],
    ['./app/b.ren', 'app/b'],
  ]);
});

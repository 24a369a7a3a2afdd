import { describe, expect, it } from 'vitest';
import { missingTablespaces } from '#agent/server/missing-tablespaces.ts';
import type { Tablespace } from '#agent/server/server-facts.ts';

const server = (...tables: readonly (readonly [number, string])[]) => ({
  tablespaces: tables.map(([spaceId, path]): Tablespace => ({ name: path, path, spaceId, encrypted: false })),
});

const paths = (tablespaces: readonly Tablespace[]) => tablespaces.map(({ path }) => path);

describe('a tablespace the server has had all the time', () => {
  const same = server([1, 'app/t.ibd'], [2, 'app/p#P#p0.ibd'], [3, 'ibdata1'], [4, 'app/t@0024x.ibd']);

  it.each([
    [['./ibdata1', './app/t.ibd', 'app/p#P#p0.ibd', 'app/t@0024x.ibd']],
    [['ibdata1.delta', 'app/t.ibd.delta', 'app/t.ibd.meta', 'app/p#P#p0.ibd.delta', 'app/t@0024x.ibd.delta']],
    [['.//ibdata1', 'app/t.new', 'app/p#P#p0.new', 'app/t@0024x.ibd.new']],
  ])('is found in whatever form it was copied: %j', (files) => {
    expect(missingTablespaces(same, same, files)).toEqual([]);
  });

  it('is missing without a file', () => {
    expect(paths(missingTablespaces(same, same, ['./ibdata1', './app/p#P#p0.ibd', 'app/t@0024x.ibd']))).toEqual([
      'app/t.ibd',
    ]);
  });

  it('is missing where an increment has only its description', () => {
    const files = ['ibdata1.delta', 'app/t.ibd.meta', 'app/p#P#p0.ibd.delta', 'app/t@0024x.ibd.delta'];
    expect(paths(missingTablespaces(same, same, files))).toEqual(['app/t.ibd']);
  });
});

describe('a tablespace that changed during the backup', () => {
  it('may be found under the name it had', () => {
    const [before, after] = [server([1, 'app/old.ibd']), server([1, 'app/new.ibd'])];
    expect(missingTablespaces(before, after, ['app/old.ibd', 'app/old.ren'])).toEqual([]);
    expect(paths(missingTablespaces(before, after, ['app/old.ren']))).toEqual(['app/new.ibd']);
  });

  it('must be there after a rebuild, in its old or its new copy', () => {
    const [before, after] = [server([1, 'app/t.ibd']), server([9, 'app/t.ibd'])];
    expect(missingTablespaces(before, after, ['app/t.new'])).toEqual([]);
    expect(paths(missingTablespaces(before, after, ['app/t.frm']))).toEqual(['app/t.ibd']);
  });

  it('is not asked for when it was dropped, created, or only ever a step of ALTER TABLE', () => {
    const before = server([1, 'app/dropped.ibd'], [2, 'app/#sql-alter-1.ibd']);
    const after = server([3, 'app/created.ibd'], [2, 'app/#sql-alter-1.ibd']);
    expect(missingTablespaces(before, after, [])).toEqual([]);
  });

  it('is not excused by the name of a step of ALTER TABLE', () => {
    const before = server([1, 'app/t.ibd'], [2, 'app/#sql-alter-1.ibd']);
    const after = server([2, 'app/t.ibd']);
    expect(paths(missingTablespaces(before, after, ['app/#sql-alter-1.ibd']))).toEqual(['app/t.ibd']);
  });
});

import { execFileSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { clientOptions } from '#agent/engines/client-options.ts';
import { parseCredentials, readCredentials } from '#agent/server/option-file.ts';

describe('an option file', () => {
  it('gives user and password of its client groups; the last one counts', () => {
    expect(
      parseCredentials(
        '[mysqld]\nuser=mysql\n# password=no\n[client]\nuser = one\npassword=first\n\n[client-mariadb]\npassword = "se cond" \n',
      ),
    ).toEqual({ user: 'one', password: 'se cond' });
    expect(parseCredentials('[mysqld]\nuser=mysql\n')).toEqual({});
  });

  it.each([
    ['plain', 'plain'],
    ['"double # quoted"', 'double # quoted'],
    ["'single'", 'single'],
    ['a#b', 'a#b'],
    ['word # a comment', 'word'],
    ['"a\\"b\\\\c"', 'a"b\\c'],
    ['a\\sb', 'a b'],
    ['""', ''],
  ])('reads %s as %s', (written, meant) => {
    expect(parseCredentials(`[client]\npassword=${written}\n`).password).toBe(meant);
  });

  it('reads back every password that is written for the engine', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (password) => {
        fc.pre(!/[\0\r\n]/.test(password));
        expect(parseCredentials(clientOptions({ user: 'bk', password }))).toEqual({ user: 'bk', password });
      }),
    );
  });

  it('cannot hold a line break, and says so instead of making two options of one', () => {
    expect(() => clientOptions({ password: 'a\nsocket=/elsewhere' })).toThrow(/line break/);
  });

  it('is read by MariaDB’s own parser as it is meant', () => {
    const directory = mkdtempSync(join(tmpdir(), 'option-file-'));
    try {
      const user = `q"uo\\te's # no;comment\t=`;
      const file = join(directory, 'client.cnf');
      writeFileSync(file, clientOptions({ user }));
      const printed = execFileSync('my_print_defaults', [`--defaults-file=${file}`, 'client'], { encoding: 'utf8' });
      expect(printed).toBe(`--user=${user}\n`);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });
});

describe('the option file of a host', () => {
  let file: string;
  beforeEach(() => {
    file = join(mkdtempSync(join(tmpdir(), 'option-file-')), 'client.cnf');
    writeFileSync(file, '[client]\nuser=bk\n');
    chmodSync(file, 0o600);
  });
  afterEach(() => rmSync(join(file, '..'), { recursive: true, force: true }));

  it('is read', () => {
    expect(readCredentials(file)).toEqual({ user: 'bk' });
  });

  it('is refused where everybody may read it', () => {
    chmodSync(file, 0o644);
    expect(() => readCredentials(file)).toThrow(/mode 0644.*chmod 600/);
  });

  it('is named where it is not there', () => {
    expect(() => readCredentials(`${file}.not`)).toThrow(/cannot be read: ENOENT/);
  });
});

import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { lostCreations } from '#agent/commands/lost-creations.ts';
import { tablespaceBirth } from '#agent/server/tablespace-birth.ts';

let root: string;
let dataDirectory: string;
let elsewhere: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'redoubt-birth-'));
  dataDirectory = join(root, 'data');
  elsewhere = join(root, 'elsewhere', 'app');
  for (const path of [join(dataDirectory, 'app'), elsewhere]) mkdirSync(path, { recursive: true });
});
afterEach(() => rmSync(root, { recursive: true }));

/** A table with DATA DIRECTORY, as MariaDB 10.11 leaves it. */
const placeElsewhere = async (): Promise<string> => {
  const file = join(elsewhere, 't.ibd');
  writeFileSync(file, '');
  // So that the birth of one is not that of the other.
  await sleep(20);
  writeFileSync(join(dataDirectory, 'app', 't.isl'), file);
  return file;
};

describe('the birth of a tablespace', () => {
  it('is that of its file', () => {
    const file = join(dataDirectory, 'app', 't.ibd');
    writeFileSync(file, '');
    expect(tablespaceBirth(dataDirectory, 'app/t.ibd')).toBe(statSync(file).birthtimeMs);
  });

  it('is that of the file its .isl points at, for a table with a DATA DIRECTORY', async () => {
    const file = await placeElsewhere();
    expect(tablespaceBirth(dataDirectory, 'app/t.ibd')).toBe(statSync(file).birthtimeMs);
  });

  it('is that of the .isl where the file cannot be found', async () => {
    rmSync(await placeElsewhere());
    expect(tablespaceBirth(dataDirectory, 'app/t.ibd')).toBe(statSync(join(dataDirectory, 'app', 't.isl')).birthtimeMs);
  });

  it('is unknown where there is neither: the table was dropped since', () => {
    expect(tablespaceBirth(dataDirectory, 'app/t.ibd')).toBeUndefined();
    expect(tablespaceBirth(dataDirectory, 'undo001')).toBeUndefined();
  });

  it('tells a table with a DATA DIRECTORY that was made during a backup from one made after it', async () => {
    const born = statSync(await placeElsewhere()).birthtimeMs;
    const made = { name: 'app/t', path: 'app/t.ibd', spaceId: 7, encrypted: false };
    const lost = (releasedAt: number) =>
      lostCreations({
        before: [],
        after: [made],
        restorable: new Set(),
        releasedAt,
        bornAt: ({ path }) => tablespaceBirth(dataDirectory, path),
      });
    expect(lost(born + 5_000)).toEqual([made]);
    expect(lost(born)).toEqual([]);
  });
});

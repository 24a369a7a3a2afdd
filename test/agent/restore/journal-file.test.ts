import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { advance, newJournal } from '#agent/restore/journal.ts';
import { readJournal, writeJournal } from '#agent/restore/journal-file.ts';
import { JournalStore } from '#agent/restore/journal-store.ts';
import { backupIdSchema, runIdSchema } from '#core/ids.ts';

let staging: string;
beforeEach(() => {
  staging = mkdtempSync(join(tmpdir(), 'journal-'));
});
afterEach(() => rmSync(staging, { recursive: true, force: true }));

const steps = ['20261122T060000Z-f0000-3f9a1c', '20261122T060100Z-i0001-3f9a1c'].map((backup) => ({
  backup: backupIdSchema.parse(backup),
  manifestSha256: '0'.repeat(64),
}));
const journal = newJournal(runIdSchema.parse('run'), '/d', steps);

describe('a journal on the disk', () => {
  it('is read as it was written, and by nobody else', async () => {
    await writeJournal(staging, journal);
    expect(await readJournal(staging)).toEqual(journal);
    expect(statSync(join(staging, 'journal.json')).mode & 0o077).toBe(0);
  });

  it('is the whole one before when a crash came while the next was written', async () => {
    await writeJournal(staging, journal);
    writeFileSync(join(staging, 'journal.json.next'), '{"format":"redoubt-rest');
    expect(await readJournal(staging)).toEqual(journal);
    await writeJournal(staging, { ...journal, directory: '/other' });
    expect((await readJournal(staging))?.directory).toBe('/other');
    expect(readdirSync(staging)).toEqual(['journal.json']);
  });

  it.each(['', '{', '{"format":"redoubt-restore-journal","version":2}'])('says nothing when it is %j', async (text) => {
    writeFileSync(join(staging, 'journal.json'), text);
    expect(await readJournal(staging)).toBeUndefined();
  });

  it('holds every change of two who report at the same time', async () => {
    const prepared = [
      { kind: 'fetch', step: 0 },
      { kind: 'extracted', step: 0 },
    ] as const;
    const store = new JournalStore(staging, prepared.reduce(advance, journal));
    await Promise.all([
      store.change((current) => advance(current, { kind: 'prepare', step: 0, last: false })),
      store.change((current) => advance(current, { kind: 'fetch', step: 1 })),
    ]);
    expect((await readJournal(staging))?.steps.map(({ state }) => state)).toEqual(['preparing', 'fetching']);
  });

  it('is not changed by what may not happen', async () => {
    const store = new JournalStore(staging, journal);
    await expect(store.change((current) => advance(current, { kind: 'prepared', step: 0 }))).rejects.toThrow(TypeError);
    await store.change((current) => advance(current, { kind: 'fetch', step: 0 }));
    expect((await readJournal(staging))?.steps[0]?.state).toBe('fetching');
  });
});

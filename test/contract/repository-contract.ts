import { beforeEach, describe, expect, it } from 'vitest';
import { backupPrefix, chainsPrefix, dataKeyOf, manifestKey, placePrefix } from '#core/object-keys.ts';
import type { Repository } from '#core/ports/repository.ts';
import { readManifest } from '#functions/recording/read-manifest.ts';
import { removeUncommitted } from '#functions/recording/remove-uncommitted.ts';
import { SHOP, sampleAddress, sampleBackup, sampleObjects, sha256Of } from '../doubles/sample-manifest.ts';

const NOW = new Date('2026-11-22T05:12:10.000Z');

export interface RepositoryUnderTest {
  readonly repository: Repository;
  /** Starts a multipart upload and leaves it. */
  readonly startUpload: (key: string) => Promise<void>;
}

/** What every repository promises, whatever it is made of. `create` gives an empty one. */
export const repositoryContract = (name: string, create: () => Promise<RepositoryUnderTest>): void => {
  describe(`the repository: ${name}`, () => {
    let repository: Repository;
    let startUpload: RepositoryUnderTest['startUpload'];
    beforeEach(async () => {
      ({ repository, startUpload } = await create());
    });

    const at = sampleAddress(1);
    const uploadAll = async (address = at) => {
      for (const [key, text] of sampleObjects(address)) await repository.write(key, text);
    };

    it('reads what was written, with its ETag, and nothing where nothing is', async () => {
      const text = 'Grüße — 日本\n';
      await repository.write('runs/run-1/instruction-1.json', text);
      expect(await repository.read('runs/run-1/instruction-1.json')).toEqual({
        text,
        etag: expect.stringMatching(/./),
      });
      expect(await repository.read('runs/run-1/nothing.json')).toBeUndefined();
    });

    it('replaces what was read, and nothing that was written meanwhile or is gone', async () => {
      await repository.write('runs/a', 'first');
      const first = (await repository.read('runs/a'))?.etag ?? '';
      expect(await repository.replace('runs/a', 'second', first)).toBe('replaced');
      expect(await repository.replace('runs/a', 'third', first)).toBe('changed');
      expect(await repository.replace('runs/b', 'third', first)).toBe('changed');
      expect(await repository.read('runs/a')).toMatchObject({ text: 'second' });
      expect(await repository.read('runs/b')).toBeUndefined();
    });

    it('names every version there is, and loses the one that is removed for good', async () => {
      for (const text of ['first', 'second']) await repository.write('runs/a', text);
      await repository.write('runs/b', 'other');
      const versions = await repository.versions('runs/');
      expect(
        versions
          .filter(({ isLatest }) => isLatest)
          .map(({ key }) => key)
          .sort(),
      ).toEqual(['runs/a', 'runs/b']);
      const [latest] = versions.filter(({ key, isLatest }) => key === 'runs/a' && isLatest);
      expect(latest && (await repository.read('runs/a', latest.version))).toMatchObject({ text: 'second' });
      for (const version of versions.filter(({ key }) => key === 'runs/a')) await repository.removeVersion(version);
      expect((await repository.versions('runs/')).map(({ key }) => key)).toEqual(['runs/b']);
      expect(await repository.read('runs/a')).toBeUndefined();
      await expect(repository.removeVersion({ key: 'runs/a' })).resolves.toBeUndefined();
    });

    it('tells the size of an object, and its digest if it tells one', async () => {
      await repository.write('runs/a', 'Grüße');
      const facts = await repository.look('runs/a');
      expect(facts?.bytes).toBe(7);
      if (facts?.sha256 !== undefined) expect(facts.sha256).toBe(sha256Of('Grüße'));
      expect(await repository.look('runs/b')).toBeUndefined();
    });

    it('looks at what is there now, by its version if it keeps versions', async () => {
      await repository.write('runs/a', 'first');
      const first = await repository.look('runs/a');
      await repository.write('runs/a', 'second');
      const second = await repository.look('runs/a');
      const current = (await repository.versions('runs/a')).find(({ isLatest }) => isLatest);
      expect(second).toMatchObject({ bytes: 6 });
      expect(second?.version).toBe(current?.version);
      if (first?.version !== undefined) expect(second?.version).not.toBe(first.version);
    });

    it('sees nothing where an uncommitted backup was removed, even if its versions can still be read', async () => {
      await uploadAll();
      const key = dataKeyOf(at, 0);
      const sent = await repository.look(key);
      await repository.remove(await repository.list(backupPrefix(at)));
      expect(await repository.look(key)).toBeUndefined();
      const left = (await repository.versions(key)).filter(({ isMarker }) => !isMarker);
      expect(left.map(({ version }) => version)).toEqual(sent?.version === undefined ? [] : [sent.version]);
      expect((await repository.versions(key)).filter(({ isLatest, isMarker }) => isLatest && !isMarker)).toEqual([]);
    });

    it('lists what lies under a prefix, in order, and nothing else', async () => {
      for (const key of ['runs/b', 'runs/a', 'runs/a/1', 'other/a']) await repository.write(key, key);
      expect(await repository.list('runs/')).toEqual(['runs/a', 'runs/a/1', 'runs/b']);
      expect(await repository.list('nothing/')).toEqual([]);
    });

    it('lists folders once each, in order, only those after the one named', async () => {
      for (const address of [sampleAddress(0, 22), sampleAddress(1, 22), sampleAddress(0, 23), sampleAddress(0, 24)])
        await uploadAll(address);
      const chains = [22, 23, 24].map((day) => `${sampleAddress(0, day).chain}/`);
      expect(await repository.folders(chainsPrefix(SHOP))).toEqual(chains);
      expect(await repository.folders(chainsPrefix(SHOP), chains[0])).toEqual(chains.slice(1));
      expect(await repository.folders(chainsPrefix(SHOP), chains[2])).toEqual([]);
    });

    it('lists the attempts at one place by the rest of their names', async () => {
      await uploadAll(sampleAddress(1));
      await uploadAll(sampleAddress(2));
      expect(await repository.folders(placePrefix(SHOP, at.chain, 1))).toEqual([`${at.backup}/`]);
      expect(await repository.folders(placePrefix(SHOP, at.chain, 3))).toEqual([]);
    });

    it('ends the uploads under a prefix and no others', async () => {
      const other = sampleAddress(2);
      await startUpload(dataKeyOf(at, 0));
      await startUpload(dataKeyOf(at, 1));
      await startUpload(dataKeyOf(other, 0));
      expect(await repository.abortUploads(backupPrefix(at))).toBe(2);
      expect(await repository.abortUploads(backupPrefix(at))).toBe(0);
      expect(await repository.abortUploads(backupPrefix(other))).toBe(1);
    });

    it('removes an uncommitted backup with its uploads, and nothing beside it', async () => {
      const other = sampleAddress(2);
      await uploadAll(at);
      await uploadAll(other);
      await startUpload(dataKeyOf(at, 2));
      expect(await removeUncommitted(repository, at, NOW)).toBe(4);
      expect(await repository.list(backupPrefix(at))).toEqual([manifestKey(at)]);
      expect(await readManifest(repository, at)).toEqual({ kind: 'given-up', at: NOW });
      expect(await repository.abortUploads(backupPrefix(at))).toBe(0);
      expect(await repository.list(backupPrefix(other))).toHaveLength(4);
    });

    it('removes what came after the tombstone as well, and leaves the first tombstone', async () => {
      expect(await removeUncommitted(repository, at, NOW)).toBe(0);
      await uploadAll();
      expect(await removeUncommitted(repository, at, new Date(NOW.getTime() + 1000))).toBe(4);
      expect(await readManifest(repository, at)).toEqual({ kind: 'given-up', at: NOW });
    });

    it('lets nobody commit a backup that was given up', async () => {
      await removeUncommitted(repository, at, NOW);
      expect(await repository.create(manifestKey(at), sampleBackup(at).text)).toBe('exists');
    });

    it('creates an object where nothing is, or nothing is any more, and nowhere else', async () => {
      expect(await repository.create('runs/a', 'first')).toBe('created');
      expect(await repository.create('runs/a', 'second')).toBe('exists');
      expect(await repository.read('runs/a')).toMatchObject({ text: 'first' });
      await repository.remove(['runs/a', 'runs/b']);
      expect(await repository.read('runs/a')).toBeUndefined();
      expect(await repository.create('runs/a', 'third')).toBe('created');
    });

    it('removes nothing of a committed backup', async () => {
      await uploadAll();
      await repository.write(manifestKey(at), sampleBackup(at).text);
      expect(await removeUncommitted(repository, at, NOW)).toBe('committed');
      expect(await repository.list(backupPrefix(at))).toHaveLength(5);
    });
  });
};

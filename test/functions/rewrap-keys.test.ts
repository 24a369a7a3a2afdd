import { beforeEach, describe, expect, it } from 'vitest';
import type { RewrapRequest } from '#core/key-requests.ts';
import { rewrapRequestSchema } from '#core/key-requests.ts';
import { type Manifest, manifestDigestInput, manifestSchema } from '#core/manifest.ts';
import { isManifestKey } from '#core/object-keys.ts';
import { keysLeftIn } from '#core/wrapped-key.ts';
import { planRestore, planRestoreInputSchema } from '#functions/plan-restore/plan-restore.ts';
import { rewrapKeys } from '#functions/rewrap-keys/rewrap-keys.ts';
import { DATA_KEY, OTHER_KEY } from '../doubles/fake-keys.ts';
import { SHOP } from '../doubles/sample-manifest.ts';
import { type ControlPlaneUnderTest, controlPlaneUnderTest, executionOf } from './control-plane-under-test.ts';

let world: ControlPlaneUnderTest;
beforeEach(async () => {
  world = await controlPlaneUnderTest();
  await world.backUp('run-1');
  await world.backUp('run-2');
  await world.backUp('run-3', { kind: 'full' });
});

const rewrap = (request: Partial<RewrapRequest> = {}) =>
  rewrapKeys(world.deps, rewrapRequestSchema.parse({ cluster: SHOP, to: OTHER_KEY, ...request }));

const stored = (): ReadonlyMap<string, string> =>
  new Map([...world.repository.objects].filter(([key]) => isManifestKey(key)));
const manifests = (): readonly Manifest[] =>
  [...stored().values()].map((text) => manifestSchema.parse(JSON.parse(text)));
const kmsKeys = async (): Promise<readonly string[]> => {
  const { chains } = await world.chains.all(SHOP);
  return [...chains, ...manifests()].flatMap(({ keys }) => keysLeftIn(keys)).map(({ kmsKey }) => kmsKey);
};

describe('re-wrapping', () => {
  it('shows what it would do, and does nothing, unless it is told to', async () => {
    const before = new Map(world.repository.objects);
    const answer = await rewrap();
    expect(answer).toMatchObject({
      to: OTHER_KEY,
      executed: false,
      chains: [
        { state: 'stale', from: [DATA_KEY], manifests: 2, stale: 2 },
        { state: 'stale', from: [DATA_KEY], manifests: 1, stale: 1 },
      ],
    });
    expect(answer.next).toBeUndefined();
    expect(new Map(world.repository.objects)).toEqual(before);
    expect(new Set(await kmsKeys())).toEqual(new Set([DATA_KEY]));
  });

  it('moves every wrapped key, and changes nothing else of a manifest', async () => {
    const before = stored();
    const answer = await rewrap({ execute: true });
    expect(answer.chains.map(({ state }) => state)).toEqual(['rewrapped', 'rewrapped']);
    expect(new Set(await kmsKeys())).toEqual(new Set([OTHER_KEY]));
    for (const [key, text] of stored()) {
      expect(text).not.toBe(before.get(key));
      expect(manifestDigestInput(text)).toBe(manifestDigestInput(before.get(key) ?? ''));
      expect({ ...JSON.parse(text), keys: 0 }).toEqual({ ...JSON.parse(before.get(key) ?? ''), keys: 0 });
    }
  });

  it('keeps what a later version wrote into a manifest', async () => {
    const [key = '', text = ''] = [...stored()][0] ?? [];
    world.repository.objects.set(key, JSON.stringify({ ...JSON.parse(text), later: { kept: true } }));
    await rewrap({ execute: true });
    expect(JSON.parse(world.repository.objects.get(key) ?? '')).toMatchObject({ later: { kept: true } });
  });

  it('does nothing the second time', async () => {
    await rewrap({ execute: true });
    const after = new Map(world.repository.objects);
    const answer = await rewrap({ execute: true });
    expect(answer.chains.map(({ state, stale }) => [state, stale])).toEqual([
      ['current', 0],
      ['current', 0],
    ]);
    expect(new Map(world.repository.objects)).toEqual(after);
  });

  it('of one chain leaves the others', async () => {
    const [first] = (await world.chains.all(SHOP)).chains;
    await rewrap({ execute: true, ...(first && { chain: first.chain }) });
    const { chains } = await world.chains.all(SHOP);
    expect(chains.map(({ keys }) => keysLeftIn(keys)[0]?.kmsKey)).toEqual([OTHER_KEY, DATA_KEY]);
  });

  it('goes back to the key of the control plane where none is named', async () => {
    await rewrap({ execute: true });
    const answer = await rewrapKeys(world.deps, rewrapRequestSchema.parse({ cluster: SHOP, execute: true }));
    expect(answer.to).toBe(DATA_KEY);
    expect(new Set(await kmsKeys())).toEqual(new Set([DATA_KEY]));
  });

  it('lets increments and restores go on, by grants on the other key', async () => {
    await rewrap({ execute: true });
    await world.backUp('run-4');
    const [last] = manifests().filter(({ run }) => run === 'run-4');
    expect(last).toMatchObject({ seq: 1, keys: { data: { kmsKey: OTHER_KEY } } });
    await planRestore(
      world.deps,
      planRestoreInputSchema.parse({
        cluster: SHOP,
        target: { mode: 'prepare-only', directory: '/srv/restored' },
        run: 'restore-1',
        execution: executionOf('restore-1'),
      }),
    );
    expect([...world.keys.grants.values()].map(({ keys }) => keys.data.kmsKey)).toEqual([OTHER_KEY]);
  });

  it('wraps each copy anew from itself: a wrong one in the catalog does not spread', async () => {
    const [chain] = (await world.chains.all(SHOP)).chains;
    if (!chain || 'shredded' in chain.keys) throw new Error('no keys');
    const wrong = { data: { ...chain.keys.data, ciphertext: Buffer.from('a wrong key').toString('base64') } };
    await world.chains.rewrap(SHOP, chain.chain, chain.keys, wrong);
    await rewrap({ execute: true, chain: chain.chain });
    const [full] = manifests();
    const text = Buffer.from(keysLeftIn(full?.keys ?? wrong)[0]?.ciphertext ?? '', 'base64').toString();
    expect(text).toContain('backup-data of');
  });

  it('asks KMS once for each key, however many copies there are', async () => {
    const before = world.keys.bytes.size;
    await rewrap({ execute: true });
    expect(world.keys.bytes.size - before).toBe(2);
  });

  it.each([1, 2, 3, 4])(
    'that dies before its write number %i is finished by the next, and every copy opens meanwhile',
    async (nth) => {
      let writes = 0;
      const dying = <Port extends object>(port: Port, name: keyof Port): Port => ({
        ...port,
        [name]: async (...args: unknown[]) => {
          writes += 1;
          if (writes >= nth) throw new Error('the function died');
          return (port[name] as (...given: unknown[]) => Promise<unknown>)(...args);
        },
      });
      const deps = {
        ...world.deps,
        chains: dying(world.deps.chains, 'rewrap'),
        repository: dying(world.deps.repository, 'replace'),
      };
      await expect(
        rewrapKeys(deps, rewrapRequestSchema.parse({ cluster: SHOP, to: OTHER_KEY, execute: true })),
      ).rejects.toThrow('the function died');
      for (const key of await kmsKeys()) expect([DATA_KEY, OTHER_KEY]).toContain(key);
      await rewrap({ execute: true });
      expect(new Set(await kmsKeys())).toEqual(new Set([OTHER_KEY]));
    },
  );

  it('does not write over what somebody else wrote at the same moment', async () => {
    const [chain] = (await world.chains.all(SHOP)).chains;
    const { repository } = world.deps;
    const racing = {
      ...repository,
      replace: async (key: string, text: string, etag: string) => {
        repository.objects.set(key, `${repository.objects.get(key)} `);
        return repository.replace(key, text, etag);
      },
    };
    await expect(
      rewrapKeys(
        { ...world.deps, repository: racing },
        rewrapRequestSchema.parse({ cluster: SHOP, chain: chain?.chain, to: OTHER_KEY, execute: true }),
      ),
    ).rejects.toMatchObject({ name: 'CatalogConflict' });
  });

  it('changes nothing where KMS says no', async () => {
    const before = new Map(world.repository.objects);
    world.keys.failing = 'rewrap';
    await expect(rewrap({ execute: true })).rejects.toMatchObject({ name: 'KeyRefused' });
    expect(new Map(world.repository.objects)).toEqual(before);
    expect(new Set(await kmsKeys())).toEqual(new Set([DATA_KEY]));
  });

  it('names what it cannot read, and leaves it', async () => {
    const [key = ''] = [...stored()][0] ?? [];
    world.repository.objects.set(key, '{"format":"redoubt-manifest"}');
    const answer = await rewrap({ execute: true });
    expect(answer.chains[0]).toMatchObject({ manifests: 1, unreadable: [expect.stringContaining('-f0000-')] });
    expect(world.repository.objects.get(key)).toBe('{"format":"redoubt-manifest"}');
  });

  it('tells of a run that may still write a manifest with the keys of before', async () => {
    await world.plan('run-4');
    expect(await rewrap({ execute: true })).toMatchObject({ busy: 'run-4' });
  });

  it('of very many manifests is done part by part, each chain once', async () => {
    const many = { ...world.deps.repository };
    const [first] = (await world.chains.all(SHOP)).chains;
    many.folders = async (prefix: string) => {
      const folders = await world.deps.repository.folders(prefix);
      return first && prefix.includes(first.chain) ? Array.from({ length: 150 }, () => folders).flat() : folders;
    };
    const deps = { ...world.deps, repository: many };
    const one = await rewrapKeys(deps, rewrapRequestSchema.parse({ cluster: SHOP, to: OTHER_KEY }));
    expect(one).toMatchObject({ chains: [{ chain: first?.chain }], next: first?.chain });
    const two = await rewrapKeys(deps, rewrapRequestSchema.parse({ cluster: SHOP, to: OTHER_KEY, after: one.next }));
    expect(two.chains).toHaveLength(1);
    expect(two.chains[0]?.chain).not.toBe(first?.chain);
    expect(two.next).toBeUndefined();
  });

  it.each([
    ['a key that the deployment does not name', { to: `${DATA_KEY.slice(0, -1)}9` }, 'InvalidInput'],
    ['an unknown cluster', { cluster: 'unknown' }, 'UnknownCluster'],
    ['an unknown chain', { chain: '20200101T000000Z-000000' }, 'UnknownBackup'],
  ])('refuses %s', async (_, request, name) => {
    await expect(rewrap({ execute: true, ...(request as object) })).rejects.toMatchObject({ name });
  });
});

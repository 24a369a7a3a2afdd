import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { clusterIdSchema, newBackupId, newChainId, runIdSchema } from '#core/ids.ts';
import {
  type BackupAddress,
  backupPrefix,
  chainPrefix,
  clusterPrefix,
  dataKeyOf,
  engineLogKey,
  instructionKey,
  inventoryKey,
  isInstructionKey,
  keyringKey,
  manifestKey,
  placePrefix,
  progressKey,
  runPrefix,
} from '#core/object-keys.ts';
import { sampleAddress } from '../doubles/sample-manifest.ts';

const addressArbitrary: fc.Arbitrary<BackupAddress> = fc
  .record({
    cluster: fc.stringMatching(/^[a-z][a-z0-9-]{1,10}[a-z0-9]$/),
    at: fc.date({ min: new Date('2020-01-01'), max: new Date('2099-01-01'), noInvalidDate: true }),
    suffix: fc.stringMatching(/^[0-9a-f]{6}$/),
    seq: fc.nat({ max: 9999 }),
  })
  .map(({ cluster, at, suffix, seq }) => {
    const chain = newChainId(at, suffix);
    return { cluster: clusterIdSchema.parse(cluster), chain, seq, backup: newBackupId(at, chain, seq) };
  });

const keysOf = (at: BackupAddress): readonly string[] => [
  manifestKey(at),
  keyringKey(at),
  inventoryKey(at),
  engineLogKey(at),
  dataKeyOf(at, 0),
  dataKeyOf(at, 12_345),
];

describe('the keys of the repository', () => {
  it('are what docs/design.md says', () => {
    const at = sampleAddress(3);
    const prefix = 'clusters/shop/chains/20261122T051210Z-3f9a1c/0003-20261122T051510Z-i0003-3f9a1c/';
    expect(keysOf(at)).toEqual([
      `${prefix}manifest.json`,
      `${prefix}keyring.sealed`,
      `${prefix}meta/inventory.sealed`,
      `${prefix}meta/engine-log.sealed`,
      `${prefix}data.00000`,
      `${prefix}data.12345`,
    ]);
    const run = { cluster: at.cluster, run: runIdSchema.parse('run-1') };
    expect([instructionKey(run, 2), progressKey(run)]).toEqual([
      'runs/shop/run-1/instruction-2.json',
      'runs/shop/run-1/progress.json',
    ]);
  });

  it('of a backup all lie under its prefix, that under its place, its chain and its cluster', () => {
    fc.assert(
      fc.property(addressArbitrary, (at) => {
        for (const key of keysOf(at)) expect(key.startsWith(backupPrefix(at))).toBe(true);
        expect(backupPrefix(at).startsWith(placePrefix(at.cluster, at.chain, at.seq))).toBe(true);
        expect(placePrefix(at.cluster, at.chain, at.seq).startsWith(chainPrefix(at.cluster, at.chain))).toBe(true);
        expect(chainPrefix(at.cluster, at.chain).startsWith(clusterPrefix(at.cluster))).toBe(true);
      }),
    );
  });

  it('of one cluster or backup never lie under the prefix of another', () => {
    fc.assert(
      fc.property(addressArbitrary, addressArbitrary, (a, b) => {
        if (a.cluster !== b.cluster)
          for (const key of keysOf(b)) expect(key.startsWith(clusterPrefix(a.cluster))).toBe(false);
        if (backupPrefix(a) !== backupPrefix(b))
          for (const key of keysOf(b)) expect(key.startsWith(backupPrefix(a))).toBe(false);
      }),
    );
  });

  it('of a run of one cluster never lie where those of another cluster do, whatever the run is called', () => {
    const prefixOf = (cluster: string, run: string) =>
      runPrefix({ cluster: clusterIdSchema.parse(cluster), run: runIdSchema.parse(run) });
    expect(prefixOf('shop', 'run-1')).toBe('runs/shop/run-1/');
    expect(prefixOf('shop2', 'run-1').startsWith('runs/shop/')).toBe(false);
    const run = { cluster: clusterIdSchema.parse('shop'), run: runIdSchema.parse('run-1') };
    expect([instructionKey(run, 1), progressKey(run), 'runs/run-1/instruction-1.json'].map(isInstructionKey)).toEqual([
      true,
      false,
      false,
    ]);
  });

  it('of one place never lie under the prefix of another place', () => {
    const at = sampleAddress(1);
    for (const seq of [0, 10, 11, 100, 1000, 10_000])
      expect(backupPrefix({ ...at, seq }).startsWith(placePrefix(at.cluster, at.chain, 1))).toBe(false);
  });

  it('sort in the order of the places', () => {
    const at = sampleAddress(0);
    const prefixes = [0, 1, 2, 9, 10, 99, 100, 500].map((seq) => placePrefix(at.cluster, at.chain, seq));
    expect(prefixes.toSorted()).toEqual(prefixes);
  });
});

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { instructionSchema } from '#core/agent-protocol.ts';
import { instructionKey } from '#core/object-keys.ts';
import { wrappedKeysOf } from '#core/wrapped-key.ts';
import { planRestore, planRestoreInputSchema } from '#functions/plan-restore/plan-restore.ts';
import { ROLE, SHOP, sampleCluster } from '../doubles/sample-manifest.ts';
import {
  type ControlPlaneUnderTest,
  controlPlaneUnderTest,
  executionOf,
  runId,
  tokenOf,
} from './control-plane-under-test.ts';

const tablespaceEncryption = { kind: 'keyring-file', path: '/var/lib/mysql-keyring/keyring', transition: 'passphrase' };
const config = (facts: object = {}) =>
  sampleCluster({
    engine: 'xtrabackup',
    encryption: { mode: 'native-and-sealed', algorithm: 'AES192' },
    tablespaceEncryption,
    ...facts,
  });

const restore = (world: ControlPlaneUnderTest, run = 'restore-1') =>
  planRestore(
    world.deps,
    planRestoreInputSchema.parse({
      cluster: SHOP,
      target: { mode: 'prepare-only', directory: '/srv/restored' },
      run,
      execution: executionOf(run),
    }),
  );

describe('the keys of a chain with native encryption and a transition key', () => {
  let world: ControlPlaneUnderTest;
  beforeEach(async () => {
    world = await controlPlaneUnderTest({ config: config() });
  });

  const engineOf = { engine: { name: 'xtrabackup', version: '8.0.35-31', series: '8.0' } } as const;
  const backUp = async (run: string) => {
    const planned = await world.plan(run);
    await world.ask(run, planned);
    const backup = world.commit(planned.decoded, engineOf);
    await world.record(run, backup);
    await world.settle(run);
    world.executions.ended.add(executionOf(run));
    world.clock.advance(60_000);
    return { planned, backup };
  };

  it('are three, each of the length its use needs, bound to cluster, chain and purpose', async () => {
    const { decoded } = await world.plan('run-1');
    const { grantToken: _token, ...keys } = decoded.keys;
    const facts = wrappedKeysOf(keys).map(({ context, ciphertext }) => [context, world.keys.bytes.get(ciphertext)]);
    const { chain } = decoded;
    expect(facts).toEqual([
      [{ cluster: SHOP, chain, purpose: 'backup-data' }, 32],
      [{ cluster: SHOP, chain, purpose: 'engine-key' }, 24],
      [{ cluster: SHOP, chain, purpose: 'transition-key' }, 32],
    ]);
    expect(decoded).toMatchObject({ encryption: config().encryption, tablespaceEncryption });
  });

  it('are lent together, by one grant that settling takes back', async () => {
    const { decoded } = await world.plan('run-1');
    const { grantToken: _token, ...keys } = decoded.keys;
    expect([...world.keys.grants.values()]).toEqual([{ keys, role: ROLE, name: 'redoubt-run-1-1' }]);
    await world.settle('run-1', { outcome: 'failed', error: 'AgentDied' });
    expect(world.keys.grants.size).toBe(0);
  });

  it('are the same for every increment', async () => {
    const full = await backUp('run-1');
    const increment = await backUp('run-2');
    expect(increment.planned.decoded.seq).toBe(1);
    expect(increment.backup.manifest.keys).toEqual(full.backup.manifest.keys);
    expect(world.keys.bytes.size).toBe(3);
  });

  it('are not used for a chain that is encrypted in another way', async () => {
    await backUp('run-1');
    await world.clusters.put(config({ encryption: { mode: 'native', algorithm: 'AES256' } }));
    const { decoded } = await world.plan('run-2');
    expect(decoded).toMatchObject({
      seq: 0,
      reason: 'the chain was taken with native-and-sealed (AES192), the cluster file now says native (AES256)',
    });
    expect(world.keys.bytes.get(decoded.keys.engine?.ciphertext ?? '')).toBe(32);
  });

  it('are lent to a restore, which is told of the keyring of the server it is for', async () => {
    const { backup } = await backUp('run-1');
    const { instruction } = await restore(world);
    expect(instruction).toMatchObject({ tablespaceEncryption });
    expect((await world.plannedRun('restore-1')).lent?.keys).toEqual(backup.manifest.keys);
    expect([...world.keys.grants.values()]).toMatchObject([{ keys: backup.manifest.keys, role: ROLE }]);
  });

  it('must be in the manifest, all of them, or the backup is not recorded', async () => {
    const planned = await world.plan('run-1');
    await world.ask('run-1', planned);
    const backup = world.commit(planned.decoded, { ...engineOf, keys: { data: planned.decoded.keys.data } });
    await expect(world.record('run-1', backup)).rejects.toMatchObject({ name: 'ManifestInvalid' });
    expect(await world.chains.head(SHOP)).toBeUndefined();
  });
});

describe('what nobody may read who should not', () => {
  let world: ControlPlaneUnderTest;
  beforeEach(async () => {
    world = await controlPlaneUnderTest({ config: config() });
  });

  /** Everything that opens something, of this run. */
  const secretsOf = async (run: string): Promise<readonly string[]> => {
    const lent = (await world.plannedRun(run)).lent;
    if (!lent) throw new Error(`run ${run} was lent nothing`);
    return [lent.grantToken, tokenOf(run), ...wrappedKeysOf(lent.keys).map(({ ciphertext }) => ciphertext)];
  };

  it('is not in what a plan answers: the history of an execution cannot be erased', async () => {
    const { decoded: _decoded, ...answer } = await world.plan('run-1');
    const answered = JSON.stringify(answer);
    for (const secret of await secretsOf('run-1')) expect(answered).not.toContain(secret);
  });

  it('is in the instruction, which the host alone reads', async () => {
    const planned = await world.plan('run-1');
    const secrets = await secretsOf('run-1');
    await world.ask('run-1', planned);
    const text = world.repository.objects.get(instructionKey({ cluster: SHOP, run: runId('run-1') }, 1)) ?? '';
    for (const secret of secrets) expect(text).toContain(secret);
    expect(instructionSchema.parse(JSON.parse(text))).toMatchObject({ keys: planned.decoded.keys });
  });

  it('is in no line of the log, whether all goes well or not, and in no error', async () => {
    const secrets: string[] = [];
    const planned = await world.plan('run-1');
    secrets.push(...(await secretsOf('run-1')));
    await world.ask('run-1', planned);
    await world.settle('run-1', { outcome: 'failed', error: 'AgentDied', cause: 'killed' });
    world.executions.ended.add(executionOf('run-1'));
    world.clock.advance(60_000);

    const second = await world.plan('run-2');
    secrets.push(...(await secretsOf('run-2')));
    // The execution dies: the next plan takes over.
    await world.ask('run-2', second);
    world.executions.ended.add(executionOf('run-2'));
    world.clock.advance(60_000);
    await world.plan('run-3');
    secrets.push(...(await secretsOf('run-3')));
    world.keys.failing = 'lend';
    const error: unknown = await world.plan('run-3', { attempt: 2 }).catch((thrown: unknown) => thrown);
    const seen = JSON.stringify([world.log.lines, world.hosts.asked, error, String(error)]);
    expect(world.log.codes()).toContain('lease-taken-over');
    for (const secret of secrets) expect(seen).not.toContain(secret);
  });

  it('is forgotten with the run that was lent it', async () => {
    const planned = await world.plan('run-1');
    const secrets = await secretsOf('run-1');
    await world.ask('run-1', planned);
    await world.settle('run-1', { outcome: 'failed', error: 'AgentDied' });
    const record = JSON.stringify(await world.runs.get(runId('run-1')));
    for (const secret of secrets) expect(record).not.toContain(secret);
  });

  it('is asked for nowhere in plaintext: no function knows a request that would answer one', () => {
    const root = join(import.meta.dirname, '..', '..', 'functions');
    const sources = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'));
    expect(sources.length).toBeGreaterThan(50);
    for (const name of sources)
      expect(readFileSync(join(root, name), 'utf8'), name).not.toMatch(
        /\b(DecryptCommand|GenerateDataKeyCommand|GenerateDataKeyPairCommand|GenerateRandomCommand|Plaintext)\b/,
      );
  });
});

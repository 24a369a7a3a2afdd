import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { runBackup } from '#agent/commands/backup.ts';
import type { Engine } from '#agent/engines/engine.ts';
import { decompress } from '#agent/stream/decompress.ts';
import { manifestMacHolds } from '#agent/stream/manifest-mac.ts';
import { sealContextOf } from '#agent/stream/seal-context.ts';
import { unseal, unsealBuffer } from '#agent/stream/unseal.ts';
import type { BackupInstruction } from '#core/agent-protocol.ts';
import { RedoubtError } from '#core/errors.ts';
import { lsn } from '#core/lsn.ts';
import { type Manifest, manifestSchema } from '#core/manifest.ts';
import { manifestKey } from '#core/object-keys.ts';
import { encodeTombstone } from '#core/tombstone.ts';
import { INFO_AT, wrapKey } from '#test/doubles/page-store/encryption-info.ts';
import { endChunk, payloadChunk, xbstreamOf } from '#test/doubles/xbstream-writer.ts';
import {
  checkpointsOf,
  facts,
  fullFiles,
  identity,
  increment,
  incrementFiles,
  instruction,
  isRunning,
  type Lab,
  lab,
  okScript,
  parent,
  scriptedEngine,
} from './backup-lab.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'redoubt-backup-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const streamOf = (stream: Buffer): Readonly<Record<string, string>> => {
  const path = join(directory, 'stream');
  writeFileSync(path, stream);
  return { STREAM: path };
};

interface Taking {
  readonly files?: Readonly<Record<string, string | Buffer>>;
  readonly stream?: Buffer;
  readonly script?: string;
  readonly request?: BackupInstruction;
  readonly in?: Lab;
  readonly confirm?: () => Promise<void>;
  readonly mark?: string;
  readonly engine?: Partial<Engine>;
}

const take = (taking: Taking = {}) => {
  const surroundings = taking.in ?? lab();
  const stream = taking.stream ?? xbstreamOf(taking.files ?? fullFiles);
  const engine: Engine = scriptedEngine(taking.script ?? okScript, {
    ...streamOf(stream),
    MARK: taking.mark ?? 'none',
  });
  return runBackup(taking.request ?? instruction(), surroundings.context, {
    engine: { ...engine, ...taking.engine },
    openServer: async () => surroundings.server,
    confirm: taking.confirm ?? (async () => undefined),
    scratchParent: directory,
  });
};

const failure = async (taking: Taking): Promise<RedoubtError> => {
  try {
    await take(taking);
  } catch (error) {
    if (error instanceof RedoubtError) return error;
    throw error;
  }
  throw new Error('the backup succeeded');
};

const without = (files: Readonly<Record<string, string | Buffer>>, ...paths: string[]) =>
  Object.fromEntries(Object.entries(files).filter(([path]) => !paths.includes(path)));

const manifestOf = ({ repository }: Lab): Manifest => {
  const [key] = [...repository.objects.keys()].filter((name) => name.endsWith('manifest.json'));
  return manifestSchema.parse(JSON.parse(repository.objects.get(key ?? '')?.toString() ?? ''));
};

const prefix = 'clusters/orders/chains/20261122T051210Z-3f9a1c/0000-20261122T051210Z-f0000-3f9a1c/';

describe('a full backup', () => {
  it('stores the stream so that it opens to the same bytes', async () => {
    const surroundings = lab();
    await take({ in: surroundings });
    const manifest = manifestOf(surroundings);
    const pieces: Buffer[] = [];
    const opened = async function* () {
      for (const segment of manifest.segments) {
        const message = surroundings.repository.objects.get(segment.key) as Buffer;
        yield* unseal(
          (async function* () {
            yield message;
          })(),
          surroundings.dataKey,
          sealContextOf(manifest, segment.key),
        );
      }
    };
    for await (const piece of decompress(opened())) pieces.push(piece);
    expect(Buffer.concat(pieces).equals(xbstreamOf(fullFiles))).toBe(true);
  });

  it('writes the manifest last, after everything it names', async () => {
    const surroundings = lab();
    await take({ in: surroundings });
    expect(surroundings.repository.writes).toEqual([
      `complete ${prefix}data.00000`,
      `create ${prefix}meta/inventory.sealed`,
      `create ${prefix}meta/engine-log.sealed`,
      `create ${prefix}manifest.json`,
    ]);
  });

  it('describes itself truly', async () => {
    const surroundings = lab();
    const answer = await take({ in: surroundings });
    const manifest = manifestOf(surroundings);
    expect(manifest).toMatchObject({
      kind: 'full',
      seq: 0,
      fencingToken: 3,
      checkpoints: { fromLsn: 0n, toLsn: 1900n, lastLsn: 1990n },
      binlog: { file: 'binlog.000002', position: '154', gtid: '0-1-50' },
      canary: { backup: instruction().backup },
      server: { identity },
      stream: { bytes: xbstreamOf(fullFiles).length, files: Object.keys(fullFiles).length },
      restoredBytes: Object.values(fullFiles).reduce((sum, content) => sum + content.length, 0),
    });
    expect(manifestMacHolds(manifest, surroundings.dataKey)).toBe(true);
    expect(manifestMacHolds({ ...manifest, seq: 1 }, surroundings.dataKey)).toBe(false);
    expect(answer).toMatchObject({ manifestKey: `${prefix}manifest.json`, streamBytes: manifest.stream.bytes });
  });

  it('is RunCancelled where the run was given up before the commit: the tombstone stays where the manifest would lie', async () => {
    const surroundings = lab();
    const [key, tombstone] = [manifestKey(instruction()), encodeTombstone(new Date(0))];
    surroundings.repository.objects.set(key, Buffer.from(tombstone));
    expect(await failure({ in: surroundings })).toMatchObject({ code: 'RunCancelled' });
    expect(surroundings.repository.objects.get(key)?.toString()).toBe(tombstone);
  });

  it('is UploadFailed where anything else lies there', async () => {
    const surroundings = lab();
    surroundings.repository.objects.set(manifestKey(instruction()), Buffer.from('{}'));
    expect(await failure({ in: surroundings })).toMatchObject({ code: 'UploadFailed' });
  });

  it('keeps the engine log and the inventory sealed', async () => {
    const surroundings = lab();
    await take({ in: surroundings });
    const { engineLog, inventory } = manifestOf(surroundings);
    const open = (key: string) =>
      unsealBuffer(
        surroundings.repository.objects.get(key) as Buffer,
        surroundings.dataKey,
        sealContextOf(instruction(), key),
      );
    expect((await open(engineLog.key)).toString()).toContain('completed OK!');
    expect((await open(inventory.key)).toString()).toContain('app/t.ibd');
    for (const [key, body] of surroundings.repository.objects)
      if (!key.endsWith('manifest.json')) expect(body.includes('app/t.ibd'), key).toBe(false);
  });

  it('leaves its canary in the server before the engine starts', async () => {
    const surroundings = lab();
    await failure({ in: surroundings, script: 'exit 1' });
    expect(surroundings.canaries.get(instruction().backup)?.writtenAt).toBe('2026-11-22T05:12:10.000Z');
  });

  it('leaves it anew when the copy is over: a server rolled back to a moment of the copy has another', async () => {
    const surroundings = lab();
    const written: string[] = [];
    const server: Lab['server'] = {
      ...surroundings.server,
      writeCanary: (canary, seen) => {
        written.push(canary.writtenAt);
        return surroundings.server.writeCanary(canary, seen);
      },
    };
    await take({ in: { ...surroundings, server } });
    expect(written).toEqual(['2026-11-22T05:12:10.000Z', '2026-11-22T05:12:10.001Z']);
    expect(manifestOf(surroundings).canary?.writtenAt).toBe(written[1]);
  });

  it('leaves no canary in a server that takes no writes, and says so by having none', async () => {
    const surroundings = lab([{ ...facts, readOnly: true }]);
    await take({ in: surroundings });
    expect(manifestOf(surroundings).canary).toBeUndefined();
  });

  it('cleans up behind itself', async () => {
    const surroundings = lab();
    await take({ in: surroundings, script: `echo redo > "$SCRATCH/redo"; ${okScript}` });
    expect(readdirSync(directory)).toEqual(['stream']);
    expect(surroundings.destroyed()).toBe(true);
  });
});

const withCanary = (probes = [facts]): Lab => {
  const surroundings = lab(probes);
  surroundings.canaries.set(parent.canary.backup, {
    ...parent.canary,
    backup: increment().parent?.backup ?? ('' as never),
  });
  return surroundings;
};

describe('an increment', () => {
  it('starts from the end of its parent and names it', async () => {
    const surroundings = withCanary();
    await take({
      in: surroundings,
      request: increment(),
      files: incrementFiles,
      script: `test "$FROM_LSN" = 1500 && ${okScript}`,
    });
    expect(manifestOf(surroundings)).toMatchObject({
      kind: 'incremental',
      parent: { backup: parent.backup, manifestSha256: parent.manifestSha256 },
      checkpoints: { fromLsn: 1500n },
    });
  });

  it.each([
    ['another server', 'ServerChanged', [{ ...facts, identity: { ...identity, uuid: 'other' } }]],
    ['a server behind its parent', 'ChainBroken', [{ ...facts, lsn: lsn(1499n) }]],
  ])('of %s is refused as %s before anything is written', async (_what, code, probes) => {
    const surroundings = withCanary(probes);
    const before = surroundings.canaries.size;
    expect(await failure({ in: surroundings, request: increment(), files: incrementFiles })).toMatchObject({ code });
    expect(surroundings.repository.writes).toEqual([]);
    expect(surroundings.canaries.size).toBe(before);
  });

  it('of a server without the canary of its parent is refused', async () => {
    expect(await failure({ request: increment(), files: incrementFiles })).toMatchObject({ code: 'ChainBroken' });
  });

  it('on a read-only server descends by its GTID set', async () => {
    const request = increment({ parent: { ...parent, canary: undefined } });
    await take({ in: lab([{ ...facts, readOnly: true }]), request, files: incrementFiles });
    const behind = lab([{ ...facts, readOnly: true, gtid: '0-1-39' }]);
    expect(await failure({ in: behind, request, files: incrementFiles })).toMatchObject({ code: 'ChainBroken' });
  });

  it('that the engine took from another LSN is refused', async () => {
    const files = { ...incrementFiles, xtrabackup_checkpoints: checkpointsOf('incremental', 0, 1900, 1990) };
    expect(await failure({ in: withCanary(), request: increment(), files })).toMatchObject({
      code: 'CheckpointsInvalid',
    });
  });
});

describe('the backup history of the server', () => {
  const byUuid = { history: { name: 'nightly', incrementBy: 'uuid' }, parent: { ...parent, engineUuid: 'u-1' } };
  const withRecord = (key: string, found: bigint): Lab => {
    const surroundings = withCanary();
    surroundings.history.set(key, lsn(found));
    return surroundings;
  };

  it('is only ever asked for what the parent proves, by its uuid', async () => {
    const surroundings = withRecord('uuid u-1', 1500n);
    await take({ in: surroundings, request: increment(byUuid), files: incrementFiles });
    expect(manifestOf(surroundings).engine.uuid).toBe('1');
  });

  it.each([
    ['no record', 'uuid other', 1500n, byUuid, /has no LSN for uuid u-1, the to_lsn of \S+ is 1500$/],
    ['an edited record', 'uuid u-1', 1400n, byUuid, /has LSN 1400 for uuid u-1/],
    ['a parent without a uuid', 'uuid u-1', 1500n, { ...byUuid, parent }, /no LSN for uuid \(none\)/],
    [
      'a later backup of the same name',
      'name nightly',
      1501n,
      { history: { name: 'nightly', incrementBy: 'name' } },
      /has LSN 1501 for name nightly/,
    ],
  ] as const)('refuses an increment before anything is copied: %s', async (_what, key, found, changes, message) => {
    const surroundings = withRecord(key, found);
    const error = await failure({ in: surroundings, request: increment(changes), files: incrementFiles });
    expect(error.code).toBe('ChainBroken');
    expect(error.detail).toMatch(message);
    expect(surroundings.repository.writes).toEqual([]);
  });

  it('does not change what is proved afterwards: the engine may have found another LSN all the same', async () => {
    const files = { ...incrementFiles, xtrabackup_checkpoints: checkpointsOf('incremental', 1499, 1900, 1990) };
    const request = increment(byUuid);
    expect(await failure({ in: withRecord('uuid u-1', 1500n), request, files })).toMatchObject({
      code: 'CheckpointsInvalid',
    });
  });

  it('that the engine did not write to costs no backup, and is said', async () => {
    const request = instruction({ history: { name: 'nightly', incrementBy: 'lsn' } });
    const silent = lab();
    await take({ in: silent, request });
    expect(silent.logged.join()).toContain('[History] The engine did not record this backup under nightly.');
    const recorded = withRecord('uuid 1', 1900n);
    await take({ in: recorded, request });
    expect(recorded.logged.join()).not.toContain('[History]');
  });

  it('cannot be written in a read-only server: refused before the engine starts', async () => {
    const request = instruction({ history: { name: 'nightly', incrementBy: 'lsn' } });
    expect(await failure({ in: lab([{ ...facts, readOnly: true }]), request })).toMatchObject({
      code: 'PrivilegesMissing',
    });
  });
});

describe('what the engine calls OK and is not (INV-1)', () => {
  const stream = xbstreamOf(fullFiles);

  it.each<[string, string, Taking]>([
    ['no closing line', 'EngineFailed', { script: 'cat "$STREAM"' }],
    ['an exit code', 'EngineFailed', { script: `${okScript}; exit 1` }],
    ['nothing at all', 'StreamIncomplete', { stream: Buffer.alloc(0) }],
    ['a stream cut at a chunk border', 'StreamIncomplete', { stream: payloadChunk('a', 0, Buffer.from('x')) }],
    ['a stream cut within a chunk', 'StreamIncomplete', { stream: stream.subarray(0, stream.length - 3) }],
    [
      'a file that lacks its end',
      'StreamIncomplete',
      { stream: stream.subarray(0, -endChunk('xtrabackup_info').length) },
    ],
    ['garbage', 'StreamCorrupt', { stream: Buffer.alloc(5000, 'mysqldump') }],
    ['no checkpoints', 'CheckpointsInvalid', { files: without(fullFiles, 'xtrabackup_checkpoints') }],
    ['no info', 'StreamIncomplete', { files: without(fullFiles, 'xtrabackup_info') }],
    ['a missing tablespace', 'TablespaceMissing', { files: without(fullFiles, 'app/u.ibd') }],
    [
      'LSNs in disorder',
      'CheckpointsInvalid',
      { files: { ...fullFiles, xtrabackup_checkpoints: checkpointsOf('full-backuped', 0, 1900, 1800) } },
    ],
    [
      'redo that was not copied up to where the server was before',
      'CheckpointsInvalid',
      { files: { ...fullFiles, xtrabackup_checkpoints: checkpointsOf('full-backuped', 0, 1900, 1949) } },
    ],
    [
      'another server at the end',
      'ServerChanged',
      { in: lab([facts, { ...facts, identity: { ...identity, uuid: 'other' } }]) },
    ],
    ['a restart', 'ServerRestarted', { in: lab([facts, { ...facts, startedAt: facts.startedAt + 600, pid: 4712 }]) }],
    ['an LSN that went back', 'ChainBroken', { in: lab([facts, { ...facts, lsn: lsn(1949n) }]) }],
  ])('%s: %s', async (_what, code, taking) => {
    const surroundings = taking.in ?? lab();
    expect(await failure({ ...taking, in: surroundings })).toMatchObject({ code });
    expect([...surroundings.repository.objects.keys()].filter((key) => key.endsWith('manifest.json'))).toEqual([]);
    expect(surroundings.repository.uploads.size).toBe(0);
    expect(surroundings.destroyed()).toBe(true);
    expect(readdirSync(directory)).toEqual(['stream']);
  });

  it('a tablespace made while it copied, and not copied: TablespaceMissing', async () => {
    const made = { name: 'app/new', path: 'new.ibd', spaceId: 9, encrypted: false };
    const dataDirectory = mkdtempSync(join(tmpdir(), 'redoubt-data-'));
    try {
      writeFileSync(join(dataDirectory, 'new.ibd'), 'x');
      const request = instruction({ server: { ...instruction().server, dataDirectory } });
      const surroundings = () => lab([facts, { ...facts, tablespaces: [...facts.tablespaces, made] }]);
      const slow = `sleep 1.3; ${okScript}`;
      expect(await failure({ in: surroundings(), request, script: slow })).toMatchObject({ code: 'TablespaceMissing' });
      // The same table in the stream, or made after the engine had let go of the server: nothing is missing.
      await take({ in: surroundings(), request, script: slow, files: { 'new.ibd': 'x', ...fullFiles } });
      writeFileSync(join(dataDirectory, 'late'), '');
      rmSync(join(dataDirectory, 'new.ibd'));
      const late = `echo "[00] Executing BACKUP STAGE END" >&2; sleep 0.2; echo x > ${dataDirectory}/new.ibd; ${okScript}`;
      await take({ in: surroundings(), request, script: late });
      // XtraBackup 2.4 leaves such a table to the redo.
      rmSync(join(dataDirectory, 'new.ibd'));
      writeFileSync(join(dataDirectory, 'new.ibd'), 'x');
      await take({ in: surroundings(), request, script: slow, engine: { streamsCreatedTables: () => false } });
    } finally {
      rmSync(dataDirectory, { recursive: true });
    }
  });
});

describe('encryption that this agent cannot do is refused, never left out', () => {
  it.each<[string, Taking]>([
    ["the engine's own", { request: instruction({ encryption: { mode: 'native' } }) }],
    [
      'a keyring',
      { request: instruction({ tablespaceEncryption: { kind: 'keyring-file', path: '/var/lib/keyring' } }) },
    ],
    [
      'tablespaces whose keyring nobody named',
      { in: lab([{ ...facts, tablespaces: facts.tablespaces.map((each) => ({ ...each, encrypted: true })) }]) },
    ],
  ])('%s', async (_what, taking) => {
    const surroundings = taking.in ?? lab();
    expect(await failure({ ...taking, in: surroundings })).toMatchObject({ code: 'EncryptionUnsupported' });
    expect(surroundings.repository.writes).toEqual([]);
  });
});

describe('a server whose keys are in a Vault', () => {
  const UUID = '0c2f0a10-e62a-11f1-8917-02fc00000001';
  const TOKEN = 'hvs.known-token-of-the-vault';
  const pageOf = (master: number): Buffer => {
    const page = Buffer.alloc(16_384);
    wrapKey({ key: Buffer.alloc(32), iv: Buffer.alloc(32) }, Buffer.alloc(32), UUID, master).copy(page, INFO_AT);
    return page;
  };
  let data: string;
  let surroundings: Lab;
  let request: BackupInstruction;

  beforeEach(() => {
    data = mkdtempSync(join(tmpdir(), 'redoubt-data-'));
    mkdirSync(join(data, 'app'));
    writeFileSync(join(data, 'app/t.ibd'), pageOf(4));
    const config = join(data, 'vault.conf');
    writeFileSync(config, `token = ${TOKEN}\n`, { mode: 0o600 });
    const server = {
      ...facts,
      identity: { ...identity, flavour: 'mysql', dataDirectory: data } as const,
      tablespaces: facts.tablespaces.map((each) => ({ ...each, encrypted: each.name === 'app/t' })),
      variables: { keyring_vault_config: config },
    };
    surroundings = lab([server]);
    request = instruction({ tablespaceEncryption: { kind: 'keyring-vault', config } });
  });
  afterEach(() => rmSync(data, { recursive: true }));
  const taking = (script = okScript) =>
    ({ in: surroundings, request, script, engine: { checkEncryption: () => undefined } }) as const;

  it('is backed up with the master keys in use by name, and its token sealed', async () => {
    await take(taking());
    const { keyring } = manifestOf(surroundings);
    expect(keyring).toMatchObject({ kind: 'keyring-vault', keyIds: [`INNODBKey-${UUID}-4`] });
    for (const [key, body] of surroundings.repository.objects) expect(body.includes(TOKEN), key).toBe(false);
    const opened = await unsealBuffer(
      surroundings.repository.objects.get(keyring?.object.key ?? '') as Buffer,
      surroundings.dataKey,
      sealContextOf(request, keyring?.object.key ?? ''),
    );
    expect(opened.includes(Buffer.from(`token = ${TOKEN}\n`).toString('base64'))).toBe(true);
  });

  it('is not, where the master key is rotated meanwhile: KeyringRotated', async () => {
    const rotated = join(directory, 'rotated');
    writeFileSync(rotated, pageOf(5));
    expect(await failure(taking(`cp ${rotated} ${data}/app/t.ibd; ${okScript}`))).toMatchObject({
      code: 'KeyringRotated',
    });
  });
});

describe('the repository', () => {
  it.each([
    ['a part', 'part'],
    ['the start of an upload', 'startUpload'],
    ['the completion', 'complete'],
    ['the inventory', 'create'],
  ])('that refuses %s fails the backup and keeps no upload', async (_what, operation) => {
    const surroundings = lab();
    surroundings.repository.failing = (name) =>
      name === operation ? new RedoubtError('RepositoryRefused', 'denied') : undefined;
    expect(await failure({ in: surroundings, mark: 'refused' })).toMatchObject({ code: 'RepositoryRefused' });
    expect(surroundings.repository.uploads.size).toBe(0);
    expect(isRunning('refused')).toBe(false);
  });

  it('that holds something else than was sent gets no manifest', async () => {
    const surroundings = lab();
    const head = surroundings.repository.head.bind(surroundings.repository);
    surroundings.repository.head = async (key) => {
      const real = await head(key);
      return key.endsWith('data.00000') ? { ...real, crc32: (real.crc32 ?? 0) ^ 1 } : real;
    };
    expect(await failure({ in: surroundings })).toMatchObject({ code: 'UploadFailed' });
    expect([...surroundings.repository.objects.keys()].some((key) => key.endsWith('manifest.json'))).toBe(false);
  });
});

describe('a run that must stop', () => {
  it('kills the engine, aborts the upload and commits nothing', async () => {
    const surroundings = lab();
    const running = failure({
      in: surroundings,
      script: 'cat "$STREAM"; sleep 60',
      mark: 'stopped',
    });
    for (let waited = 0; !isRunning('stopped') && waited < 50; waited++) await sleep(20);
    expect(isRunning('stopped')).toBe(true);
    surroundings.cancel(new RedoubtError('RunCancelled', 'enough'));
    expect(await running).toMatchObject({ code: 'RunCancelled', detail: 'enough' });
    expect(isRunning('stopped')).toBe(false);
    expect(surroundings.repository.uploads.size).toBe(0);
    expect(readdirSync(directory)).toEqual(['stream']);
  });

  it('commits nothing when nobody waits for it any more at the end', async () => {
    const surroundings = lab();
    const confirm = async () => {
      throw new RedoubtError('RunCancelled', 'gone');
    };
    expect(await failure({ in: surroundings, confirm })).toMatchObject({ code: 'RunCancelled' });
    expect([...surroundings.repository.objects.keys()].some((key) => key.endsWith('manifest.json'))).toBe(false);
  });
});

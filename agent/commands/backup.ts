import { createHash } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { BackupAnswer, BackupInstruction } from '#core/agent-protocol.ts';
import { historyFault, historyLookup } from '#core/backup-history.ts';
import { type Checkpoints, checkpointsFault, parseCheckpoints } from '#core/checkpoints.ts';
import { judgeDescent } from '#core/descent.ts';
import { RedoubtError } from '#core/errors.ts';
import { lsn } from '#core/lsn.ts';
import { type Canary, encodeManifest, type Manifest, manifestDigestInput, type StoredObject } from '#core/manifest.ts';
import { dataKeyOf, engineLogKey, inventoryKey, manifestKey } from '#core/object-keys.ts';
import { identityDifference } from '#core/server-identity.ts';
import { tombstoneTime } from '#core/tombstone.ts';
import type { Engine, EngineVersion } from '../engines/engine.ts';
import { EngineLog } from '../engines/engine-log.ts';
import { runProcess } from '../io/run-process.ts';
import { SecretDirectory } from '../io/secret-directory.ts';
import { awaitFirstPages } from '../keyring/await-first-pages.ts';
import {
  checkSameKeys,
  escrowOf,
  keyringAfter,
  keysInService,
  storeKeyring,
  transitionOf,
} from '../keyring/escrow-keyring.ts';
import { KeyringFingerprint } from '../keyring/keyring-fingerprint.ts';
import type { KeyringSnapshot } from '../keyring/keyring-snapshot.ts';
import { readServerKeyring } from '../keyring/server-keyring.ts';
import { stageKeyring } from '../keyring/stage-keyring.ts';
import { spacesWithKey, TABLESPACE_KEYS_FILE } from '../keyring/tablespace-keys-file.ts';
import { type EngineKeys, openEngineKeys } from '../keys/open-engine-keys.ts';
import type { Repository } from '../repository/repository.ts';
import { expectedFiles, renameFiles } from '../restore/expected-files.ts';
import { gtidContained } from '../server/gtid-contained.ts';
import { missingTablespaces } from '../server/missing-tablespaces.ts';
import type { ServerFacts, Tablespace } from '../server/server-facts.ts';
import { serverRestarted } from '../server/server-restarted.ts';
import { tablespaceBirth } from '../server/tablespace-birth.ts';
import { CapturedFiles } from '../stream/captured-files.ts';
import { EnginePipe } from '../stream/engine-pipe.ts';
import { Inventory } from '../stream/inventory.ts';
import type { InventoryDocument } from '../stream/inventory-format.ts';
import { signManifest } from '../stream/manifest-mac.ts';
import { PlainSizes } from '../stream/plain-sizes.ts';
import { sealBuffer } from '../stream/seal.ts';
import { sealContextOf } from '../stream/seal-context.ts';
import { type StoredStream, storeStream } from '../stream/store-stream.ts';
import { decryptXbcrypt, plainPath, XBCRYPT_SUFFIX } from '../stream/xbcrypt.ts';
import { XbstreamReader } from '../stream/xbstream-reader.ts';
import type { BackupServer } from './backup-server.ts';
import { parseBinlogPosition } from './binlog-position.ts';
import { EngineSpool } from './engine-spool.ts';
import { lostCreations } from './lost-creations.ts';
import type { RunContext } from './run-context.ts';
import { ScratchDirectory } from './scratch-directory.ts';

/** What a backup meets on its host. */
export interface BackupHost {
  readonly engine: Engine;
  readonly openServer: (instruction: BackupInstruction) => Promise<BackupServer>;
  /** Asks the workflow whether it still waits for this run. Throws `RunCancelled`. */
  readonly confirm: () => Promise<void>;
  /** Where the engine may write; the default is a place with room. */
  readonly scratchParent?: string;
  /** How long a server may take to write what it created just before. */
  readonly firstPagesMs?: number;
}

/** What the engine left behind, none of it believed yet. */
interface Copy {
  readonly stored: StoredStream;
  readonly reader: XbstreamReader;
  readonly inventory: Inventory;
  readonly captured: CapturedFiles;
  readonly plainSizes: PlainSizes;
  readonly metadata: Metadata;
  /** `xtrabackup_keys`, if the stream holds one. */
  readonly tablespaceKeys: Buffer | undefined;
  readonly keyring: KeyringSnapshot | undefined;
  /** When the engine let go of the server's locks, in milliseconds. */
  readonly releasedAt: number;
  readonly engineLog: Buffer;
}

const RELEASE = /Executing (BACKUP STAGE END|UNLOCK (INSTANCE|TABLES))/;

const FIRST_PAGES_MS = 60_000;

const HEADS_AT_A_TIME = 8;

/** `xtrabackup_keys` has 72 bytes for each encrypted tablespace. */
const MAX_KEYS_BYTES = 64 * 1024 * 1024;

const MAX_TOMBSTONE_BYTES = 1024;

/**
 * Takes one backup. The order of its writes is the safety argument:
 *
 * 1. the canary, before the engine starts: so the backup holds its own canary, and the server holds it whether or not the
 *    backup comes off (a canary without a backup proves nothing and harms nothing);
 * 2. the segments, while the engine runs: objects under a prefix that nothing refers to;
 * 3. the canary again, with another time, once every post-condition held: that one the next increment must meet. A server that is
 *    rolled back to a moment of the copy has the first one only, and could pass `to_lsn` a second time with another history;
 * 4. inventory and engine log;
 * 5. the manifest, once every object was seen in the repository as it was sent, and the workflow still waits. It is written
 *    with If-None-Match, and it alone makes a backup of all the rest.
 *
 * So a crash at any point leaves either a whole backup or objects that no one takes for one. Throws named errors; whatever
 * happens, the engine is dead, uploads are aborted, secrets and scratch files are gone and the data key is overwritten.
 */
export const runBackup = async (
  instruction: BackupInstruction,
  context: RunContext,
  host: BackupHost,
): Promise<BackupAnswer> => {
  const startedAt = context.now();
  context.progress.phase('probing');
  const version = await host.engine.version(instruction.engineDirectory);
  const server = await host.openServer(instruction);
  const { facts: before, keyring } = await refuseEarly(instruction, host.engine, version, server);
  try {
    const inService = await keysInService(keyring, before);
    return await takeBackup(instruction, context, host, { startedAt, version, server, before, keyring, inService });
  } finally {
    keyring?.destroy();
  }
};

interface Begun {
  readonly startedAt: Date;
  readonly version: EngineVersion;
  readonly server: BackupServer;
  readonly before: ServerFacts;
  readonly keyring: KeyringSnapshot | undefined;
  /** Master keys in use that only a service holds, by name. */
  readonly inService: readonly string[];
}

const takeBackup = async (
  instruction: BackupInstruction,
  context: RunContext,
  host: BackupHost,
  { startedAt, version, server, before, keyring, inService }: Begun,
): Promise<BackupAnswer> => {
  context.signal.throwIfAborted();
  context.log(
    `${host.engine.name} ${version.version}, server ${before.version} at LSN ${before.lsn}, ${before.tablespaces.length} tablespaces`,
  );
  if (host.engine.missesUnwritten(version)) await awaitFirstPages(before, context, host.firstPagesMs ?? FIRST_PAGES_MS);
  const { encryption, tablespaceEncryption } = instruction;
  const transition = transitionOf(tablespaceEncryption);
  const dataKey = await context.openKey(instruction.keys.data);
  const fingerprint = new KeyringFingerprint(dataKey.bytes);
  let engineKeys: EngineKeys | undefined;
  try {
    engineKeys = await openEngineKeys(
      instruction.keys,
      {
        engine: encryption.mode === 'sealed' ? undefined : encryption.algorithm,
        transition: transition === 'passphrase',
      },
      context.openKey,
    );
    if (instruction.parent?.keyring !== undefined) checkSameKeys(instruction.parent.keyring, keyring, fingerprint);
    const begun = context.now();
    const marked = await server.writeCanary({ backup: instruction.backup, writtenAt: begun.toISOString() }, before);
    // The engine would complete OK and have recorded nothing, or fail when all is copied.
    if (marked === 'read-only' && instruction.history !== undefined)
      throw new RedoubtError(
        'PrivilegesMissing',
        'the server is read-only for the backup user, so the backup cannot be recorded in its history: leave history out of the cluster file',
      );
    const copy = await copyServer(instruction, context, host, {
      version,
      server,
      facts: before,
      dataKey: dataKey.bytes,
      engineKeys,
      keyring,
    });
    context.progress.phase('checking');
    const checked = await checkCopy(instruction, host.engine, { version, server, before, copy });
    if ((await keysInService(copy.keyring, checked.after)).join() !== inService.join())
      throw new RedoubtError('KeyringRotated', 'the tablespaces are wrapped by another master key than when it began');
    const over = new Date(Math.max(context.now().getTime(), begun.getTime() + 1));
    const wanted = { backup: instruction.backup, writtenAt: over.toISOString() };
    const canary = (await server.writeCanary(wanted, checked.after)) === 'written' ? wanted : undefined;
    if (instruction.history !== undefined && !(await isRecorded(server, version, checked)))
      context.log(
        `[History] The engine did not record this backup under ${instruction.history.name}. An increment that is looked up there needs a new full.`,
      );
    const done = { copy, checked, before, inService, version, canary, startedAt, dataKey: dataKey.bytes, fingerprint };
    return await commit(instruction, context, host, done);
  } finally {
    fingerprint.destroy();
    engineKeys?.destroy();
    dataKey.destroy();
  }
};

const refuseEarly = async (
  instruction: BackupInstruction,
  engine: Engine,
  version: EngineVersion,
  server: BackupServer,
): Promise<{ readonly facts: ServerFacts; readonly keyring: KeyringSnapshot | undefined }> => {
  // Better no backup than one that lacks what the cluster file asks for.
  engine.checkEncryption(version, instruction);
  engine.checkOptions(version, instruction.engineOptions);
  const { parent } = instruction;
  const facts = await server.probe().catch(async (error: unknown) => {
    // The server names the first privilege it misses; who has to grant them wants to know them all.
    if (error instanceof RedoubtError && error.code === 'PrivilegesMissing') await server.checkPrivileges(version);
    throw error;
  });
  engine.checkSuits(version, facts);
  await server.checkPrivileges(version);
  const keyring = await readServerKeyring(instruction.tablespaceEncryption, facts);
  if (parent === undefined) return { facts, keyring };
  const descent = judgeDescent(parent, {
    identity: facts.identity,
    engineSeries: version.series,
    lsn: facts.lsn,
    canary: parent.canary === undefined ? 'absent' : await server.canaryOf(parent.backup),
    gtidContained: parent.gtid !== undefined && gtidContained(facts.identity.flavour, facts.gtid, parent.gtid),
  });
  if (descent.kind === 'refused') {
    keyring?.destroy();
    throw new RedoubtError(descent.code, descent.detail);
  }
  const lookup = historyLookup(instruction.history, parent);
  const fault = lookup && historyFault(lookup, await server.historyLsn(version, lookup), parent);
  if (fault !== undefined) {
    keyring?.destroy();
    throw new RedoubtError('ChainBroken', fault);
  }
  return { facts, keyring };
};

interface CopyRequest {
  readonly version: EngineVersion;
  readonly server: BackupServer;
  readonly facts: ServerFacts;
  readonly dataKey: Buffer;
  readonly engineKeys: EngineKeys;
  readonly keyring: KeyringSnapshot | undefined;
}

const copyServer = async (
  instruction: BackupInstruction,
  context: RunContext,
  { engine, scratchParent }: BackupHost,
  { version, server, facts, dataKey, engineKeys, keyring }: CopyRequest,
): Promise<Copy> => {
  const { limits, parent } = instruction;
  context.progress.phase('copying');
  context.progress.expect(instruction.expectedBytes || (parent === undefined ? facts.dataBytes : 0));
  using secrets = SecretDirectory.create();
  using scratch = new ScratchDirectory(scratchParent);
  const [lsnDirectory, scratchDirectory] = [join(scratch.path, 'lsn'), join(scratch.path, 'engine')];
  for (const path of [lsnDirectory, scratchDirectory]) mkdirSync(path, { mode: 0o700 });

  const log = new EngineLog();
  const spool = new EngineSpool(join(scratch.path, 'engine.log'));
  let releasedAt: number | undefined;
  const pipe = await EnginePipe.open(secrets.path);
  const { engineDirectory, encryption, tablespaceEncryption } = instruction;
  const transition = transitionOf(tablespaceEncryption);
  const lookup = parent && historyLookup(instruction.history, parent);
  const staged =
    keyring && stageKeyring(secrets, keyring, { transition, passphrase: engineKeys.passphrase, engineDirectory });
  const command = engine.backupCommand(version, {
    server: instruction.server,
    facts,
    credentials: server.credentials,
    fromLsn: parent?.toLsn ?? lsn(0n),
    ...(instruction.history === undefined ? {} : { history: instruction.history.name }),
    ...(lookup === undefined ? {} : { lookup }),
    limits,
    options: instruction.engineOptions,
    lsnDirectory,
    scratchDirectory,
    ...(engineDirectory === undefined ? {} : { engineDirectory }),
    ...(staged === undefined ? {} : { keyring: staged }),
    ...(engineKeys.engine === undefined
      ? {}
      : {
          native: {
            algorithm: encryption.algorithm,
            keyFile: secrets.write(engineKeys.engine),
            threads: limits.compressionThreads,
          },
        }),
  });
  const running = runProcess(command, {
    secretDirectory: secrets,
    signal: context.signal,
    stdout: pipe.theirs,
    onStderrLine: (line) => {
      log.append(line);
      spool.line(line);
      if (releasedAt === undefined && RELEASE.test(line)) releasedAt = Date.now();
    },
  });
  pipe.closeTheirs();

  const reader = new XbstreamReader();
  const inventory = new Inventory();
  const { checkpoints, info, binlog } = engine.metadataFiles;
  const plainSizes = new PlainSizes();
  const wanted = new Set([...checkpoints, ...info, ...binlog]);
  const captured = new CapturedFiles((path) => wanted.has(plainPath(path)) || path.endsWith('.ren'));
  const keysFile = new CapturedFiles((path) => plainPath(path) === TABLESPACE_KEYS_FILE, MAX_KEYS_BYTES);
  try {
    const stored = await storeStream({
      source: pipe,
      repository: context.repository,
      dataKey: encryption.mode === 'native' ? undefined : dataKey,
      keyOf: (index) => dataKeyOf(instruction, index),
      contextOf: (key) => sealContextOf(instruction, key),
      compressionLevel: limits.compressionLevel,
      compressionThreads: limits.compressionThreads,
      uploadBytesPerSecond: limits.uploadBytesPerSecond,
      signal: context.signal,
      onBlock: (block) => {
        const files = inventory.files;
        for (const event of reader.push(block)) {
          // Before the block is sent: what should be encrypted never leaves the host in clear.
          if (encryption.mode !== 'sealed') checkEncrypted(event.path);
          inventory.note(event);
          captured.note(event);
          keysFile.note(event);
          plainSizes.note(event);
        }
        context.progress.add(block.length, inventory.files - files);
      },
    });
    const exit = await running.exited;
    context.signal.throwIfAborted();
    // Before anything about the stream: why it is incomplete is what the engine says.
    const verdict = engine.judge('backup', exit, log);
    // Before the verdict: a keyring that changed underneath explains whatever the engine says.
    const after = keyring && (await keyringAfter(instruction, keyring));
    if (verdict.kind === 'refused') {
      after?.destroy();
      // The file is what it was, so it is not the one the server wrote this redo with.
      const code = after !== undefined && verdict.code === 'KeyringRotated' ? 'KeyringUnreadable' : verdict.code;
      throw new RedoubtError(code, verdict.detail);
    }
    return {
      stored,
      reader,
      inventory,
      captured,
      plainSizes,
      metadata: metadataOf(captured, engineKeys.engine),
      tablespaceKeys: contentOf(keysFile, TABLESPACE_KEYS_FILE, engineKeys.engine),
      keyring: after && (await escrowOf(after, staged)),
      releasedAt: releasedAt ?? Date.now(),
      engineLog: await spool.content(),
    };
  } catch (error) {
    running.kill();
    await running.exited.catch(() => undefined);
    throw error;
  }
};

/** A captured file, decrypted where the engine encrypted it. */
const contentOf = (captured: CapturedFiles, name: string, engineKey: Buffer | undefined): Buffer | undefined => {
  const clear = captured.content(name);
  if (clear !== undefined) return clear;
  const encrypted = captured.content(`${name}${XBCRYPT_SUFFIX}`);
  return encrypted === undefined || engineKey === undefined ? undefined : decryptXbcrypt(encrypted, engineKey);
};

/** The text of a file the engine writes of the backup itself, under the first of these names. */
type Metadata = (names: readonly string[]) => string | undefined;

const metadataOf =
  (captured: CapturedFiles, engineKey: Buffer | undefined): Metadata =>
  (names) => {
    for (const name of names) {
      const content = contentOf(captured, name, engineKey);
      if (content !== undefined) return content.toString('utf8');
    }
    return undefined;
  };

/** The `uuid` of an info file. */
const uuidOf = (info: string): string | undefined => /^uuid = ([\w-]{1,64})$/m.exec(info)?.[1];

const isRecorded = async (
  server: BackupServer,
  version: EngineVersion,
  { uuid, checkpoints }: Checked,
): Promise<boolean> =>
  uuid !== undefined && (await server.historyLsn(version, { by: 'uuid', value: uuid })) === checkpoints.toLsn;

interface Checked {
  readonly document: InventoryDocument;
  readonly checkpoints: Checkpoints;
  /** What the engine calls the backup. */
  readonly uuid: string | undefined;
  readonly after: ServerFacts;
}

/** The engine encrypts all but what is small and names no content; anything else in clear would be stored in clear. */
const checkEncrypted = (path: string): void => {
  if (path.endsWith(XBCRYPT_SUFFIX) || path.endsWith('.meta') || /^(\.\/)?xtrabackup_checkpoints$/.test(path)) return;
  throw new RedoubtError('EngineLostData', `the engine was to encrypt, but sent ${path} in clear`);
};

/** A backup with a transition key is prepared without any keyring: what is not in the engine's file of keys is lost then (PXB-3571). */
const checkTablespaceKeys = (keys: Buffer | undefined, before: ServerFacts, after: ServerFacts): void => {
  const encryptedBefore = new Set(
    before.tablespaces.filter(({ encrypted }) => encrypted).map(({ spaceId }) => spaceId),
  );
  const needed = after.tablespaces.filter(
    ({ encrypted, spaceId, path }) => encrypted && encryptedBefore.has(spaceId) && path.endsWith('.ibd'),
  );
  if (needed.length === 0) return;
  if (keys === undefined)
    throw new RedoubtError('EngineLostData', `the stream holds no ${TABLESPACE_KEYS_FILE}: no transition key opens it`);
  const spaces = spacesWithKey(keys);
  const lacking = spaces === undefined ? [] : needed.filter(({ spaceId }) => !spaces.has(spaceId));
  if (lacking.length > 0)
    throw new RedoubtError(
      'EngineLostData',
      `${TABLESPACE_KEYS_FILE} lacks the keys of ${lacking.length} tablespaces, among them ${lacking[0]?.name}`,
    );
};

/** Everything that must hold of the copy, besides the engine's own verdict: INV-1. */
const checkCopy = async (
  { parent, server: { dataDirectory }, tablespaceEncryption }: BackupInstruction,
  engine: Engine,
  { version, server, before, copy }: Pick<Begun, 'version' | 'server' | 'before'> & { readonly copy: Copy },
): Promise<Checked> => {
  const { reader, inventory, captured, plainSizes, metadata, tablespaceKeys, releasedAt } = copy;
  reader.end();
  const document = plainSizes.addTo(inventory.finish());
  const paths = document.files.map((file) => plainPath(file.path));

  // The stream's own copy: it is what a restore will go by.
  const text = metadata(engine.metadataFiles.checkpoints);
  if (text === undefined) throw new RedoubtError('CheckpointsInvalid', 'the stream holds no checkpoints file');
  const checkpoints = parseCheckpoints(text);
  const fault =
    'problem' in checkpoints ? checkpoints.problem : checkpointsFault(checkpoints, parent?.toLsn ?? lsn(0n));
  if ('problem' in checkpoints || fault !== undefined) throw new RedoubtError('CheckpointsInvalid', fault ?? '');
  // It copies redo until it ends, so at least up to where the server was before it began; a redo file it could not open is only a line.
  if (checkpoints.lastLsn < before.lsn)
    throw new RedoubtError(
      'CheckpointsInvalid',
      `redo was copied up to LSN ${checkpoints.lastLsn}, but the server was at ${before.lsn} before the backup began`,
    );
  const info = metadata(engine.metadataFiles.info);
  if (info === undefined)
    throw new RedoubtError('StreamIncomplete', `the stream holds no ${engine.metadataFiles.info.join(' or ')}`);

  const after = await server.probe();
  const difference = identityDifference(before.identity, after.identity);
  if (difference !== undefined) throw new RedoubtError('ServerChanged', `during the backup: ${difference}`);
  const restarted = serverRestarted(before, after);
  if (restarted !== undefined) throw new RedoubtError('ServerRestarted', restarted);
  if (after.lsn < before.lsn)
    throw new RedoubtError('ChainBroken', `the server went back from LSN ${before.lsn} to ${after.lsn}`);

  const renames = new Map(
    [...renameFiles(paths)].flatMap(([path, table]) => {
      const to = captured.text(path);
      return to === undefined ? [] : [[table, to.trim()] as const];
    }),
  );
  const bornAt = (tablespace: Tablespace): number | undefined => tablespaceBirth(dataDirectory, tablespace.path);
  const missing = [
    ...missingTablespaces(before, after, paths),
    ...(engine.streamsCreatedTables(version)
      ? lostCreations({
          before: before.tablespaces,
          after: after.tablespaces,
          restorable: expectedFiles(paths, renames),
          releasedAt,
          bornAt,
        })
      : []),
  ];
  if (missing.length > 0) {
    const names = missing
      .slice(0, 10)
      .map(({ name, encrypted }) => (encrypted ? `${name} (encrypted: did the engine see its keyring?)` : name));
    throw new RedoubtError('TablespaceMissing', `${missing.length} not in the backup: ${names.join(', ')}`);
  }
  if (transitionOf(tablespaceEncryption) !== 'none') checkTablespaceKeys(tablespaceKeys, before, after);
  return { document, checkpoints, uuid: uuidOf(info), after };
};

interface Commit {
  readonly copy: Copy;
  readonly checked: Checked;
  readonly before: ServerFacts;
  readonly inService: readonly string[];
  readonly version: EngineVersion;
  readonly canary: Canary | undefined;
  readonly startedAt: Date;
  readonly dataKey: Buffer;
  readonly fingerprint: KeyringFingerprint;
}

const commit = async (
  instruction: BackupInstruction,
  context: RunContext,
  { engine, confirm }: BackupHost,
  { copy, checked, before, inService, version, canary, startedAt, dataKey, fingerprint }: Commit,
): Promise<BackupAnswer> => {
  const { repository } = context;
  const { stored, metadata, keyring } = copy;
  context.progress.phase('committing');
  const sealed = async (key: string, content: Buffer): Promise<StoredObject> =>
    repository.create(key, await sealBuffer(content, dataKey, sealContextOf(instruction, key)));
  const inventoryObject = await sealed(inventoryKey(instruction), Buffer.from(JSON.stringify(checked.document)));
  const engineLogObject = await sealed(engineLogKey(instruction), copy.engineLog);
  const escrow =
    keyring &&
    (await storeKeyring(
      keyring,
      transitionOf(instruction.tablespaceEncryption),
      fingerprint,
      inService,
      sealed,
      instruction,
    ));
  await checkStored(context, [
    ...stored.segments,
    ...(escrow === undefined ? [] : [{ object: escrow.object, crc32: undefined }]),
    { object: inventoryObject, crc32: undefined },
    { object: engineLogObject, crc32: undefined },
  ]);

  const binlog = parseBinlogPosition(metadata(engine.metadataFiles.binlog));
  const {
    parent,
    keys: { grantToken: _grantToken, ...keys },
  } = instruction;
  const segments = stored.segments.map(({ object }) => object);
  const unsigned: Omit<Manifest, 'mac'> = {
    format: 'redoubt-manifest',
    version: 1,
    cluster: instruction.cluster,
    chain: instruction.chain,
    backup: instruction.backup,
    seq: instruction.seq,
    kind: parent === undefined ? 'full' : 'incremental',
    ...(parent === undefined ? {} : { parent: { backup: parent.backup, manifestSha256: parent.manifestSha256 } }),
    run: instruction.run,
    fencingToken: instruction.fencingToken,
    reason: instruction.reason,
    host: instruction.host,
    startedAt: startedAt.toISOString(),
    endedAt: context.now().toISOString(),
    agentVersion: context.agentVersion,
    engine: {
      name: engine.name,
      version: version.version,
      series: version.series,
      ...(checked.uuid === undefined ? {} : { uuid: checked.uuid }),
    },
    server: { identity: before.identity, version: before.version },
    checkpoints: checked.checkpoints,
    ...(binlog === undefined ? {} : { binlog }),
    ...(canary === undefined ? {} : { canary }),
    keys,
    stream: {
      format: 'xbstream',
      compression: 'zstd',
      encryption: instruction.encryption.mode,
      ...(instruction.encryption.mode === 'sealed' ? {} : { algorithm: instruction.encryption.algorithm }),
      bytes: stored.bytes,
      files: checked.document.files.length,
      segmentBytes: stored.segmentBytes,
    },
    segments,
    inventory: inventoryObject,
    ...(escrow === undefined ? {} : { keyring: escrow }),
    engineLog: engineLogObject,
    restoredBytes: checked.document.files.reduce((sum, { bytes, plainBytes }) => sum + (plainBytes ?? bytes), 0),
  };
  const text = encodeManifest(signManifest(unsigned, dataKey));
  const manifest = Buffer.from(text);
  // INV-6: who is not waited for any more must not commit.
  await confirm();
  context.signal.throwIfAborted();
  const key = manifestKey(instruction);
  await createManifest(repository, key, manifest);

  const objects = [...segments, inventoryObject, engineLogObject, ...(escrow === undefined ? [] : [escrow.object])];
  return {
    kind: 'backup',
    manifestKey: key,
    manifestSha256: createHash('sha256').update(manifestDigestInput(text)).digest('hex'),
    storedBytes: objects.reduce((sum, object) => sum + object.bytes, manifest.length),
    streamBytes: stored.bytes,
    seconds: context.progress.seconds(),
  };
};

/** Throws `RunCancelled` where the run was given up: then a tombstone lies where its manifest would. */
const createManifest = async (repository: Repository, key: string, manifest: Buffer): Promise<void> => {
  try {
    await repository.create(key, manifest);
  } catch (error) {
    const found = await repository.read(key, MAX_TOMBSTONE_BYTES).catch(() => undefined);
    if (found && tombstoneTime(found.toString('utf8')))
      throw new RedoubtError('RunCancelled', 'the run was given up before it could commit its backup', {
        cause: error,
      });
    throw error;
  }
};

/** Asks the repository for every object: it must lie there with the size, and where the store sums, the checksum it was sent with. */
const checkStored = async (
  { repository }: RunContext,
  sent: readonly { readonly object: StoredObject; readonly crc32: number | undefined }[],
): Promise<void> => {
  const rest = sent.values();
  const worker = async (): Promise<void> => {
    for (const { object, crc32 } of rest) {
      const head = await repository.head(object.key, object.version);
      if (head.bytes !== object.bytes)
        throw new RedoubtError('UploadFailed', `${object.key} has ${head.bytes} bytes, ${object.bytes} were sent`);
      if (crc32 !== undefined && head.crc32 !== undefined && head.crc32 !== crc32)
        throw new RedoubtError('UploadFailed', `${object.key} has another checksum than was sent`);
    }
  };
  await Promise.all(Array.from({ length: HEADS_AT_A_TIME }, worker));
};

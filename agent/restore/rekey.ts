import { copyFile, mkdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Engine, EngineKeyring, EngineVersion } from '#agent/engines/engine.ts';
import { EngineLog } from '#agent/engines/engine-log.ts';
import { runProcess } from '#agent/io/run-process.ts';
import type { SecretDirectory } from '#agent/io/secret-directory.ts';
import type { OpenEscrow } from '#agent/keyring/fetch-escrow.ts';
import type { KeyringPart } from '#agent/keyring/keyring-snapshot.ts';
import { stageKeyring } from '#agent/keyring/stage-keyring.ts';
import { TABLESPACE_KEYS_FILE } from '#agent/keyring/tablespace-keys-file.ts';
import { checkGeneratedFits, type OwnKeyring, readOwnKeyring, replaceKeyring } from '#agent/keyring/target-keyring.ts';
import type { InventoryDocument } from '#agent/stream/inventory-format.ts';
import { plainPath } from '#agent/stream/xbcrypt.ts';
import { RedoubtError } from '#core/errors.ts';
import type { TablespaceEncryption } from '#core/tablespace-encryption.ts';
import { expectedFiles } from './expected-files.ts';

export interface RekeyStep {
  readonly engine: Engine;
  readonly version: EngineVersion;
  readonly engineDirectory: string | undefined;
  /** Prepared; afterwards what a server runs on. */
  readonly base: string;
  readonly inventory: InventoryDocument;
  readonly renames: ReadonlyMap<string, string>;
  readonly escrow: OpenEscrow;
  readonly passphrase: string | undefined;
  /** Of the server that will run on the directory. */
  readonly target: TablespaceEncryption;
  readonly owner: string;
  readonly run: string;
  readonly secrets: SecretDirectory;
  readonly signal: AbortSignal;
  readonly log: (line: string) => void;
}

const missing = (error: unknown): undefined => {
  if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
  throw error;
};

/** What the new master key goes into: the server's own keyring as it is, or, where the engine put the transition key into it, the escrowed one. */
const keyringFor = (own: OwnKeyring, { escrow }: RekeyStep): readonly KeyringPart[] => {
  if (escrow.escrow.transition !== 'generated' || own.place === undefined) return own.files;
  checkGeneratedFits(own);
  return [...own.files, ...escrow.files.filter(({ role }) => role === 'keyring')];
};

const dataFileOf = (keyring: EngineKeyring): string => join(dirname(keyring.path), 'keyring');

/**
 * Gives a base that was prepared with a transition key a new master key, in the keyring of the server that will run on it. The engine does that
 * only while it moves the files, so they are moved beside, and every one is looked for afterwards. Until this is over the step counts as
 * half done: after a crash it starts from a fresh extract. Throws `KeyringUnreadable`, `PrepareIncomplete` or what the judge names.
 */
export const rekey = async (step: RekeyStep): Promise<void> => {
  const { engine, base, secrets, signal, target } = step;
  const prepared = `${base}-prepared`;
  const own = await readOwnKeyring(target);
  const keyring = stageKeyring(
    secrets,
    { kind: target.kind, files: keyringFor(own, step) },
    {
      transition: step.escrow.escrow.transition,
      passphrase: step.passphrase,
      engineDirectory: step.engineDirectory,
    },
  );
  await rm(prepared, { recursive: true, force: true });
  await rename(base, prepared);
  await mkdir(base, { mode: 0o700 });
  const command = engine.rekeyCommand(step.version, {
    preparedDirectory: prepared,
    dataDirectory: base,
    keyring,
    ...(step.engineDirectory === undefined ? {} : { engineDirectory: step.engineDirectory }),
  });
  const log = new EngineLog();
  const running = runProcess(command, {
    secretDirectory: secrets,
    signal,
    stdout: 'ignore',
    onStderrLine: (line) => log.append(line),
  });
  const exit = await running.exited;
  signal.throwIfAborted();
  const verdict = engine.judge('rekey', exit, log);
  if (verdict.kind === 'refused') throw new RedoubtError(verdict.code, `a new master key: ${verdict.detail}`);

  const paths = step.inventory.files.map(({ path }) => plainPath(path));
  for (const path of expectedFiles(paths, step.renames)) {
    if ((await stat(join(base, path)).catch(missing)) === undefined)
      throw new RedoubtError('PrepareIncomplete', `${path} was not moved under the new master key`);
  }
  // The engine leaves behind what replication and an operator want to read.
  for (const name of [engine.metadataFiles.checkpoints, engine.metadataFiles.info, engine.metadataFiles.binlog].flat())
    await copyFile(join(prepared, name), join(base, name)).catch(missing);
  // It opens every tablespace for whoever has the transition key, and is of no use once the new master key does.
  await rm(join(base, TABLESPACE_KEYS_FILE), { force: true });
  if (own.place !== undefined) {
    const content = await readFile(dataFileOf(keyring)).catch(missing);
    if (content === undefined || content.length === 0)
      throw new RedoubtError('KeyringUnreadable', 'the engine put no new master key into the keyring');
    const kept = await replaceKeyring(own.place, content, step.owner, step.run);
    content.fill(0);
    step.log(
      kept === own.place
        ? `[Keyring] ${own.place} holds the new master key.`
        : `[Keyring] ${own.place} holds the new master key besides its own; as it was it is now ${kept}`,
    );
  }
  await rm(prepared, { recursive: true, force: true });
};

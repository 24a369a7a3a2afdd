import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Engine, EngineKeyring, EngineVersion } from '#agent/engines/engine.ts';
import { EngineLog } from '#agent/engines/engine-log.ts';
import { runProcess } from '#agent/io/run-process.ts';
import type { SecretDirectory } from '#agent/io/secret-directory.ts';
import { keyManagementPlugin } from '#agent/keyring/key-management-plugin.ts';
import type { InventoryDocument } from '#agent/stream/inventory-format.ts';
import { plainPath } from '#agent/stream/xbcrypt.ts';
import { type Checkpoints, parseCheckpoints } from '#core/checkpoints.ts';
import { RedoubtError } from '#core/errors.ts';
import type { Manifest } from '#core/manifest.ts';
import { AppliedLsn } from './applied-lsn.ts';
import { expectedFiles, renameFiles } from './expected-files.ts';
import { syncFileSystem } from './sync-file-system.ts';

/** The checkpoints file of a directory, under whichever name the engine gave it. Throws `PrepareIncomplete` where there is none. */
const readCheckpoints = async (engine: Engine, directory: string): Promise<Checkpoints> => {
  for (const name of engine.metadataFiles.checkpoints) {
    const text = await readFile(join(directory, name), 'utf8').catch(() => undefined);
    if (text === undefined) continue;
    const parsed = parseCheckpoints(text);
    if ('problem' in parsed) throw new RedoubtError('PrepareIncomplete', `${name}: ${parsed.problem}`);
    return parsed;
  }
  throw new RedoubtError(
    'PrepareIncomplete',
    `there is none of ${engine.metadataFiles.checkpoints.join(', ')} in ${directory}`,
  );
};

/** An extracted backup must carry the LSNs its manifest was written with: it is what the engine will go by. */
export const checkExtracted = async (engine: Engine, directory: string, manifest: Manifest): Promise<void> => {
  const { checkpoints } = manifest;
  const found = await readCheckpoints(engine, directory);
  for (const field of ['type', 'fromLsn', 'toLsn', 'lastLsn'] as const) {
    if (found[field] !== checkpoints[field])
      throw new RedoubtError(
        'ObjectTampered',
        `${manifest.backup} was extracted with ${field} ${found[field]}, its manifest says ${checkpoints[field]}`,
      );
  }
};

/** What is wrong with a base after a step was applied to it, in words; `undefined` where nothing is. */
export const preparedFault = (
  checkpoints: Checkpoints,
  expectedType: Checkpoints['type'],
  step: Pick<Checkpoints, 'toLsn' | 'lastLsn'>,
  applied: bigint | undefined,
): string | undefined => {
  if (checkpoints.type !== expectedType) return `backup_type is ${checkpoints.type}, not ${expectedType}`;
  if (checkpoints.fromLsn !== 0n) return `from_lsn is ${checkpoints.fromLsn}: that is no base`;
  if (checkpoints.toLsn !== step.toLsn) return `to_lsn is ${checkpoints.toLsn}, not ${step.toLsn}`;
  // last_lsn of a base only moves with its to_lsn (recorded with both engines), so it says nothing of this step.
  if (checkpoints.lastLsn < checkpoints.toLsn) return `last_lsn ${checkpoints.lastLsn} is below to_lsn`;
  if (applied !== undefined && applied < step.lastLsn)
    return `redo was applied up to LSN ${applied}, the backup has it up to ${step.lastLsn}`;
  return undefined;
};

const filesMissing = async (
  directory: string,
  inventory: InventoryDocument,
  renames: ReadonlyMap<string, string>,
): Promise<readonly string[]> => {
  const missing: string[] = [];
  for (const path of expectedFiles(
    inventory.files.map((file) => plainPath(file.path)),
    renames,
  )) {
    const found = await stat(join(directory, path)).catch(() => undefined);
    // Other files may be empty (a `db.opt`, a data file of MyISAM); a tablespace has pages.
    if (found === undefined || (path.endsWith('.ibd') && found.size === 0)) missing.push(path);
  }
  return missing;
};

/** The keyring with what the engine wrote of its plugin, and where this host has that. */
const withOptions = async (keyring: EngineKeyring, base: string, source: string) => {
  const stepOptions = await optionsIn(source);
  const pluginDirectory = keyring.kind === 'file-key-management' ? keyManagementPlugin(stepOptions) : undefined;
  return {
    ...keyring,
    ...(pluginDirectory === undefined ? {} : { pluginDirectory }),
    baseOptions: await optionsIn(base),
    stepOptions,
  };
};

export interface PrepareStep {
  readonly engine: Engine;
  readonly version: EngineVersion;
  readonly engineDirectory: string | undefined;
  readonly memoryBytes: number;
  readonly base: string;
  /** Absent where the base itself is prepared. */
  readonly increment: string | undefined;
  readonly last: boolean;
  readonly manifest: Manifest;
  readonly inventory: InventoryDocument;
  /** Of this very backup. A backup with an escrowed keyring is never prepared without. */
  readonly keyring: EngineKeyring | undefined;
  readonly secrets: SecretDirectory;
  readonly signal: AbortSignal;
}

/** Renames recorded while the backup was taken, read before the engine consumes them. */
export const recordedRenames = async (
  inventory: InventoryDocument,
  directory: string,
): Promise<ReadonlyMap<string, string>> => {
  const renames = new Map<string, string>();
  for (const [path, table] of renameFiles(inventory.files.map((file) => plainPath(file.path))))
    renames.set(table, (await readFile(join(directory, path), 'utf8')).trim());
  return renames;
};

const BACKUP_OPTIONS = 'backup-my.cnf';

const optionsIn = (directory: string): Promise<string> =>
  readFile(join(directory, BACKUP_OPTIONS), 'utf8').catch((error: unknown) => {
    throw new RedoubtError('PrepareIncomplete', `there is no ${BACKUP_OPTIONS} in ${directory}`, { cause: error });
  });

/**
 * Applies one backup to the base and proves that it is in it: the engine's verdict; its checkpoints are what the plan expects; redo was applied
 * up to the backup's `last_lsn`; every tablespace and every table file the backup knows is there. INV-1: "completed OK!" is none of these.
 * Throws `PrepareFailed`, `PrepareIncomplete`, `DiskFull` or what the engine's judge names; the base is then in no known state.
 */
export const prepareStep = async (step: PrepareStep): Promise<void> => {
  const { engine, manifest } = step;
  const source = step.increment ?? step.base;
  const renames = await recordedRenames(step.inventory, source);
  if ((step.keyring === undefined) !== (manifest.keyring === undefined))
    throw new TypeError('a backup is prepared with its own keyring, if it has one');
  const keyring = step.keyring && (await withOptions(step.keyring, step.base, source));

  const applied = new AppliedLsn();
  for (const command of engine.prepareCommands(step.version, {
    baseDirectory: step.base,
    ...(step.increment === undefined ? {} : { incrementDirectory: step.increment }),
    last: step.last,
    memoryBytes: step.memoryBytes,
    ...(step.engineDirectory === undefined ? {} : { engineDirectory: step.engineDirectory }),
    ...(keyring === undefined ? {} : { keyring }),
  })) {
    const log = new EngineLog();
    const running = runProcess(command, {
      secretDirectory: step.secrets,
      signal: step.signal,
      stdout: 'ignore',
      onStderrLine: (line) => {
        log.append(line);
        applied.note(line);
      },
    });
    const exit = await running.exited;
    step.signal.throwIfAborted();
    const verdict = engine.judge('prepare', exit, log);
    if (verdict.kind === 'refused') throw new RedoubtError(verdict.code, `${manifest.backup}: ${verdict.detail}`);
  }

  const fault = preparedFault(
    await readCheckpoints(engine, step.base),
    engine.preparedType(step.last),
    manifest.checkpoints,
    applied.highest,
  );
  if (fault !== undefined) throw new RedoubtError('PrepareIncomplete', `after ${manifest.backup}: ${fault}`);
  // Every XtraBackup says how far it read; mariadb-backup only since it looks for the end of the log.
  const { toLsn, lastLsn } = manifest.checkpoints;
  if (engine.name === 'xtrabackup' && applied.highest === undefined && lastLsn > toLsn)
    throw new RedoubtError('PrepareIncomplete', `after ${manifest.backup}: the engine read none of its redo`);
  const missing = await filesMissing(step.base, step.inventory, renames);
  if (missing.length > 0)
    throw new RedoubtError(
      'PrepareIncomplete',
      `after ${manifest.backup} ${missing.length} files are missing, among them ${missing.slice(0, 5).join(', ')}`,
    );
  await syncFileSystem(step.base, step.signal);
};

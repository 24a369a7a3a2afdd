import { rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Engine, EngineVersion } from '#agent/engines/engine.ts';
import { SecretDirectory } from '#agent/io/secret-directory.ts';
import type { OpenEscrow } from '#agent/keyring/fetch-escrow.ts';
import { filesToPrepareWith } from '#agent/keyring/files-to-prepare-with.ts';
import { stageKeyring } from '#agent/keyring/stage-keyring.ts';
import type { EngineKeys } from '#agent/keys/open-engine-keys.ts';
import type { InventoryDocument } from '#agent/stream/inventory-format.ts';
import type { DecryptAt } from '#core/cluster-config.ts';
import type { KeyAlgorithm } from '#core/key-shape.ts';
import type { Manifest } from '#core/manifest.ts';
import type { TablespaceEncryption } from '#core/tablespace-encryption.ts';
import type { RunContext } from '../commands/run-context.ts';
import { decryptExtracted } from './decrypt-extracted.ts';
import { fetchBackup, fetchInventory } from './fetch-backup.ts';
import { advance } from './journal.ts';
import type { JournalStore } from './journal-store.ts';
import { checkExtracted, prepareStep, recordedRenames } from './prepare-step.ts';
import { rekey } from './rekey.ts';
import { syncFileSystem } from './sync-file-system.ts';

/** Increments that may lie extracted and wait for their turn: enough to hide the download, few enough to bound the disk. */
const AHEAD = 2;

/** Where step `index` is extracted: the first is the base, the others lie beside it until they are applied. */
export const stepDirectory = (staging: string, index: number): string =>
  join(staging, index === 0 ? 'data' : `increment-${String(index).padStart(4, '0')}`);

export interface ApplyRequest {
  readonly context: Pick<RunContext, 'repository' | 'signal' | 'progress' | 'log'>;
  readonly engine: Engine;
  readonly version: EngineVersion;
  readonly engineDirectory: string | undefined;
  readonly memoryBytes: number;
  readonly staging: string;
  readonly manifests: readonly Manifest[];
  readonly dataKey: Buffer;
  readonly engineKeys: EngineKeys;
  readonly decryptAt: DecryptAt;
  /** By place in the line; absent where a backup has none. */
  readonly escrows: readonly (OpenEscrow | undefined)[];
  /** Of the server that will run on the directory: what a transition key is exchanged for its master key in. */
  readonly target: { readonly keyring: TablespaceEncryption | undefined; readonly owner: string; readonly run: string };
  readonly threads: number;
  readonly journal: JournalStore;
}

/** `promise`, or the signal's reason as soon as that is aborted. */
const unlessAborted = <T>(promise: Promise<T>, signal: AbortSignal): Promise<T> =>
  new Promise((resolve, reject) => {
    const stop = (): void => reject(signal.reason);
    if (signal.aborted) return stop();
    signal.addEventListener('abort', stop, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop));
  });

/**
 * Brings the base from what the journal says it is to "every step applied". One backup is downloaded at a time, while those in front of it are
 * prepared; whichever fails first stops the other, and both have come to rest before its error is thrown.
 */
export const applySteps = async (request: ApplyRequest): Promise<void> => {
  const { context, engine, staging, manifests, journal } = request;
  const stop = new AbortController();
  const signal = AbortSignal.any([context.signal, stop.signal]);
  using secrets = SecretDirectory.create();
  const { version, engineDirectory } = request;
  const extracted = manifests.map(() => Promise.withResolvers<void>());
  const prepared = manifests.map(() => Promise.withResolvers<void>());
  const inventories = new Map<number, InventoryDocument>();
  for (const [index, { state }] of journal.current.steps.entries()) {
    if (state === 'extracted' || state === 'prepared') extracted[index]?.resolve();
    if (state === 'prepared') prepared[index]?.resolve();
  }

  const inventoryOf = async (index: number, manifest: Manifest): Promise<InventoryDocument> => {
    const inventory =
      inventories.get(index) ?? (await fetchInventory(context.repository, manifest, request.dataKey, signal));
    inventories.set(index, inventory);
    return inventory;
  };

  const failures: unknown[] = [];
  const failed = (error: unknown): void => {
    failures.push(error);
    stop.abort(error);
  };

  /** On the disk first, then in the journal: only so may a later run rely on it. */
  const extractedToDisk = async (index: number): Promise<void> => {
    await syncFileSystem(stepDirectory(staging, index), signal);
    await journal.change((current) => advance(current, { kind: 'extracted', step: index }));
    extracted[index]?.resolve();
  };

  const syncing: Promise<void>[] = [];
  const fetchAll = async (): Promise<void> => {
    for (const [index, manifest] of manifests.entries()) {
      if (journal.current.steps[index]?.state !== 'pending') continue;
      const room = prepared[index - AHEAD - 1];
      if (room !== undefined) await unlessAborted(room.promise, signal);
      const inventory = await inventoryOf(index, manifest);
      await journal.change((current) => advance(current, { kind: 'fetch', step: index }));
      const into = stepDirectory(staging, index);
      const { encryption, algorithm } = manifest.stream;
      const inDirectory = encryption !== 'sealed' && request.decryptAt === 'directory';
      await fetchBackup({
        repository: context.repository,
        manifest,
        inventory,
        dataKey: request.dataKey,
        engineKey: encryption === 'sealed' || inDirectory ? undefined : request.engineKeys.engine,
        into,
        signal,
        onProgress: (bytes, files) => context.progress.add(bytes, files),
      });
      if (inDirectory)
        await decryptExtracted({
          engine,
          version,
          engineDirectory,
          directory: into,
          inventory,
          algorithm: algorithm as KeyAlgorithm,
          key: request.engineKeys.engine as Buffer,
          threads: request.threads,
          secrets,
          signal,
        });
      await checkExtracted(engine, into, manifest);
      // The disk is busy with this one while the next one comes over the network.
      syncing.push(extractedToDisk(index).catch(failed));
    }
  };

  const prepareAll = async (): Promise<void> => {
    for (const [index, manifest] of manifests.entries()) {
      if (journal.current.steps[index]?.state === 'prepared') continue;
      await unlessAborted(extracted[index]?.promise as Promise<void>, signal);
      const inventory = await inventoryOf(index, manifest);
      if (index === 0) context.progress.phase('preparing');
      context.progress.step(index + 1, manifests.length);
      context.log(`[Applying] ${manifest.backup} (${index + 1} of ${manifests.length})`);
      const last = index === manifests.length - 1;
      await journal.change((current) => advance(current, { kind: 'prepare', step: index, last }));
      const increment = index === 0 ? undefined : stepDirectory(staging, index);
      const escrow = request.escrows[index];
      const { passphrase } = request.engineKeys;
      const keyring =
        escrow &&
        stageKeyring(
          secrets,
          { kind: escrow.escrow.kind, files: await filesToPrepareWith(escrow, request.target.keyring) },
          {
            transition: escrow.escrow.transition,
            passphrase: escrow.escrow.transition === 'passphrase' ? passphrase : undefined,
            engineDirectory,
          },
        );
      const base = stepDirectory(staging, 0);
      const renames = await recordedRenames(inventory, increment ?? base);
      await prepareStep({
        engine,
        version,
        engineDirectory,
        memoryBytes: request.memoryBytes,
        base,
        increment,
        last,
        manifest,
        inventory,
        keyring,
        secrets,
        signal,
      });
      if (keyring !== undefined) secrets.remove(dirname(keyring.path));
      if (last && escrow !== undefined && escrow.escrow.transition !== 'none')
        await rekey({
          engine,
          version,
          engineDirectory,
          base,
          inventory,
          renames,
          escrow,
          passphrase,
          target: request.target.keyring as TablespaceEncryption,
          owner: request.target.owner,
          run: request.target.run,
          secrets,
          signal,
          log: context.log,
        });
      await journal.change((current) => advance(current, { kind: 'prepared', step: index }));
      inventories.delete(index);
      if (increment !== undefined) await rm(increment, { recursive: true });
      prepared[index]?.resolve();
    }
  };

  await Promise.all([fetchAll().catch(failed), prepareAll().catch(failed)]);
  await Promise.all(syncing);
  if (failures.length > 0) throw failures[0];
};

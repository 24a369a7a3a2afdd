import { createHash } from 'node:crypto';
import { lstat, mkdir, readdir, rm, rmdir } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { RestoreAnswer, RestoreInstruction, RestoreStep } from '#core/agent-protocol.ts';
import { asRedoubtError, RedoubtError } from '#core/errors.ts';
import { type Manifest, manifestDigestInput } from '#core/manifest.ts';
import { compareBuilds } from '../engines/compare-versions.ts';
import { type Engine, type EngineVersion, engineOf } from '../engines/engine.ts';
import type { TargetKeyring } from '../keyring/target-keyring.ts';
import { applySteps, stepDirectory } from '../restore/apply-steps.ts';
import { lockDirectory } from '../restore/directory-lock.ts';
import { checkObjects } from '../restore/fetch-backup.ts';
import { carrySwap, giveAway, relabel, serverOutput, spreadIn, swapFacts } from '../restore/hand-over.ts';
import {
  beginSwap,
  isSameRestore,
  newJournal,
  type RestoreJournal,
  resume,
  type Swap,
  type SwapFacts,
  swapPosition,
} from '../restore/journal.ts';
import { readJournal } from '../restore/journal-file.ts';
import { JournalStore } from '../restore/journal-store.ts';
import { lookAtServer } from '../restore/look-at-server.ts';
import { processesUsing } from '../restore/processes-using.ts';
import {
  checkReplaceable,
  type LookAtServer,
  putOldBack,
  type ReplaceRequest,
  replaceDataDirectory,
  type ServerLook,
} from '../restore/replace-data-directory.ts';
import { checkTargetKeyring, handOverKeyring, openRestoreKeys, type RestoreKeys } from '../restore/restore-keys.ts';
import { checkLine, parseManifest } from '../restore/restore-line.ts';
import { bytesNeeded, checkEmpty, checkSpace, makeParents, resolveTarget, type Target } from '../restore/target.ts';
import type { RunContext } from './run-context.ts';

/** A manifest lists its segments, some hundred bytes each. */
const MAX_MANIFEST_BYTES = 64 * 1024 * 1024;

/** The lifeline kills an engine as its agent dies; this long it may take to be gone. */
const ORPHAN_WAIT_MS = 15_000;

/** What a restore meets on its host. */
export interface RestoreHost {
  readonly lookAtServer: LookAtServer;
}

/** Throws `InvalidInput` where something that is not ours has the name of the staging directory. */
const checkStaging = async (staging: string): Promise<boolean> => {
  const found = await lstat(staging).catch(() => undefined);
  if (found === undefined) return false;
  if (!found.isDirectory() || found.uid !== process.getuid?.())
    throw new RedoubtError('InvalidInput', `${staging} is in the way: it is not a directory of this agent`);
  return true;
};

/** Throws `HostBusy` where an engine that an earlier agent started still works in the staging directory. */
const awaitOrphans = async (target: Target): Promise<void> => {
  for (let waited = 0; ; waited += 500) {
    const orphan = (await processesUsing(target.staging)).find(({ files }) =>
      files.some((file) => !file.startsWith(serverOutput(target))),
    );
    if (orphan === undefined) return;
    if (waited >= ORPHAN_WAIT_MS)
      throw new RedoubtError(
        'HostBusy',
        `process ${orphan.pid} (${orphan.name}) of an earlier run works in ${target.staging}`,
      );
    await sleep(500);
  }
};

const fetchManifests = async (
  instruction: RestoreInstruction,
  context: RunContext,
  dataKey: Buffer,
): Promise<readonly Manifest[]> => {
  const manifests: Manifest[] = [];
  for (const step of instruction.steps) {
    const text = await context.repository.read(step.manifestKey, MAX_MANIFEST_BYTES);
    if (
      createHash('sha256')
        .update(manifestDigestInput(text.toString('utf8')))
        .digest('hex') !== step.manifestSha256
    )
      throw new RedoubtError('ManifestInvalid', `the manifest of ${step.backup} is not the one that was planned with`);
    manifests.push(parseManifest(text, step, instruction, dataKey));
  }
  checkLine(instruction.steps, manifests);
  return manifests;
};

/** A backup is prepared by the series that took it; XtraBackup's own direction within a series is the same version or a newer one. */
const checkEngine = (engine: Engine, version: EngineVersion, manifests: readonly Manifest[]): void => {
  for (const { backup, engine: taken } of manifests) {
    if (
      version.series !== taken.series ||
      (engine.name === 'xtrabackup' && compareBuilds(version.version, taken.version) < 0)
    )
      throw new RedoubtError(
        'EngineUnsuited',
        `${backup} was taken by ${taken.name} ${taken.version}; this host has ${version.version}`,
      );
  }
};

/** What lies beside the decrypted files until these were proven. */
const encryptedBytes = ({ decryptAt }: RestoreInstruction, manifests: readonly Manifest[]): number =>
  manifests
    .filter(({ stream }) => decryptAt === 'directory' && stream.encryption !== 'sealed')
    .reduce((sum, { stream }) => sum + stream.bytes, 0);

/** What is left of a hand-over that another restore began, undone as far as it goes; nothing of its staging directory is kept. */
const undoHandOver = async (request: ReplaceRequest, swap: Swap): Promise<void> => {
  const { target, log } = request;
  if (swap.aside !== undefined) {
    // Where the new directory was in its place already, its server may be in use by now: that one stays, and the old one where it is.
    const staged = (await readdir(stepDirectory(target.staging, 0)).catch(() => undefined)) !== undefined;
    if (staged || swap.direction === 'out') {
      log(
        '[Repairing] An earlier restore was interrupted while it replaced the data directory: putting the old one back.',
      );
      const problem = await putOldBack(request);
      if (problem !== undefined) log(`[Repairing] The old server did not start: ${problem}.`);
    } else
      log(
        `[Repairing] An earlier restore replaced ${target.directory} and did not report it: it is restored again, ${swap.aside} stays as it is.`,
      );
  }
  await rm(target.staging, { recursive: true, force: true });
};

const secondsOf = (context: RunContext): RestoreAnswer['seconds'] => ({ ...context.progress.seconds() });

/**
 * Restores a line of backups into a directory, as its instruction says: `prepare-only` leaves a ready directory, `replace` puts it in the place
 * of the server's own. Nothing is downloaded before the target was found fit; no engine sees a byte that was not verified; nothing
 * appears at the target before every step was applied and checked. Continues what an interrupted run for the same target left, as far as that is in a
 * known state; a directory that was handed over already is only the answer to the run that did it.
 *
 * Throws the errors of core/errors.ts under "Restoring", and what repository, KMS and engine say.
 */
export const runRestore = async (
  instruction: RestoreInstruction,
  context: RunContext,
  host: RestoreHost = { lookAtServer },
): Promise<RestoreAnswer> => {
  context.progress.phase('probing');
  const target = await resolveTarget(instruction);
  await using _lock = await lockDirectory(target.directory);
  const stagingExists = await checkStaging(target.staging);
  await awaitOrphans(target);

  let left = stagingExists ? await readJournal(target.staging) : undefined;
  const replaceRequest = (
    journal: JournalStore,
    before: ServerLook | undefined,
    manifest: Manifest | undefined,
  ): ReplaceRequest => ({
    target,
    server: instruction.server,
    journal,
    run: instruction.run,
    canary: manifest?.canary,
    lookAtServer: host.lookAtServer,
    before,
    signal: context.signal,
    log: context.log,
  });
  if (left?.swap !== undefined) {
    const { swap, ...staged } = left;
    switch (fateOfHandOver(target, left, instruction, await swapFacts(target, swap))) {
      case 'continued':
        break;
      case 'begun-anew':
        left = staged;
        break;
      case 'undone':
        await undoHandOver(replaceRequest(new JournalStore(target.staging, left), undefined, undefined), swap);
        left = undefined;
    }
  }

  const handingOver = left?.swap !== undefined;
  let before: ServerLook | undefined;
  if (!handingOver) {
    if (instruction.mode === 'prepare-only') await checkEmpty(target);
    else before = await checkReplaceable(target, instruction.server, host.lookAtServer);
  }
  const engine = engineOf(instruction.engine);
  const version = await engine.version(instruction.engineDirectory);

  const dataKey = await context.openKey(instruction.keys.data);
  let keys: RestoreKeys | undefined;
  try {
    const manifests = await fetchManifests(instruction, context, dataKey.bytes);
    checkEngine(engine, version, manifests);
    const last = manifests.at(-1) as Manifest;
    // Before anything is downloaded: the last step makes a new master key in the keyring of the server that will run on it.
    const { keyring: escrow, stream } = last;
    if (escrow !== undefined && escrow.transition !== 'none')
      engine.checkEncryption(version, {
        encryption: { mode: stream.encryption, algorithm: stream.algorithm ?? 'AES256' },
        tablespaceEncryption: instruction.tablespaceEncryption,
      });
    keys = await openRestoreKeys(instruction, context, manifests, dataKey.bytes);
    const targetKeyring: TargetKeyring = handingOver
      ? { kind: 'not-needed' }
      : await checkTargetKeyring(instruction, last, keys.fingerprint);
    const journal = await openJournal(instruction, target, left);
    if (!handingOver) {
      try {
        const missing = instruction.steps.filter((_, index) => journal.current.steps[index]?.state === 'pending');
        const missingManifests = manifests.filter((_, index) => journal.current.steps[index]?.state === 'pending');
        await checkSpace(target.staging, bytesNeeded(missing) + encryptedBytes(instruction, missingManifests));
        await checkObjects(context.repository, missingManifests);
        context.progress.phase('downloading');
        context.progress.expect(missingManifests.reduce((sum, manifest) => sum + manifest.stream.bytes, 0));
        await applySteps({
          context,
          engine,
          version,
          engineDirectory: instruction.engineDirectory,
          memoryBytes: instruction.limits.prepareMemory,
          staging: target.staging,
          manifests,
          dataKey: dataKey.bytes,
          engineKeys: keys.engineKeys,
          decryptAt: instruction.decryptAt,
          escrows: keys.escrows,
          target: { keyring: instruction.tablespaceEncryption, owner: instruction.server.owner, run: instruction.run },
          threads: instruction.limits.compressionThreads,
          journal,
        });
      } catch (error) {
        await leaveBehind(instruction, target, journal, asRedoubtError(error), context.log);
        throw error;
      }
    }

    context.progress.phase('handing-over');
    await handOverKeyring(instruction, context, last, keys, targetKeyring);
    const answer = {
      kind: 'restore',
      backup: last.backup,
      directory: target.directory,
      restoredBytes: instruction.steps.reduce((sum: number, step: RestoreStep) => sum + step.restoredBytes, 0),
    } as const;
    if (instruction.mode === 'prepare-only') {
      await handOverPrepared(target, instruction, journal);
      await rm(target.staging, { recursive: true, force: true });
      context.log(`[Ready] ${target.directory}`);
      return { ...answer, seconds: secondsOf(context) };
    }
    try {
      const { movedAside, serverVersion } = await replaceDataDirectory(replaceRequest(journal, before, last));
      await rm(target.staging, { recursive: true, force: true });
      context.log(`[Checked] The restored server runs ${serverVersion}.`);
      return {
        ...answer,
        serverVersion,
        ...(movedAside === undefined ? {} : { movedAside }),
        seconds: secondsOf(context),
      };
    } catch (error) {
      // A server has run on what was staged: it is not what the steps made of it any more.
      if (error instanceof RedoubtError && error.code === 'RestoredServerFailed')
        await rm(target.staging, { recursive: true, force: true });
      throw error;
    }
  } finally {
    keys?.destroy();
    dataKey.destroy();
  }
};

/**
 * What becomes of a hand-over that an earlier run of the agent began.
 *
 * A finished one is only `continued` by the run that made it: since then its server may have been started and worked on, and another run that
 * took it for its own would report as restored what it never touched. That is also how the half-done one of a mount point is judged, whose
 * entries anybody may have removed in the meantime. Between the two renames there is no data directory that a server could have worked
 * on. Where nothing was moved yet, what is staged is as good as it was.
 */
const fateOfHandOver = (
  target: Target,
  left: RestoreJournal,
  instruction: RestoreInstruction,
  facts: SwapFacts,
): 'continued' | 'begun-anew' | 'undone' => {
  const swap = left.swap as Swap;
  if (swap.direction === 'out') return 'undone';
  const same = swap.mode === instruction.mode && isSameRestore(left, instruction.steps);
  if (same && left.run === instruction.run) return 'continued';
  if (target.handOver === 'spread' || !facts.staged) return 'undone';
  if (same && swapPosition(swap, facts) === 'between') return 'continued';
  return facts.directory && !facts.aside ? 'begun-anew' : 'undone';
};

/** The journal to go on with, on the disk, and nothing on the disk that it does not name. */
const openJournal = async (
  instruction: RestoreInstruction,
  target: Target,
  left: RestoreJournal | undefined,
): Promise<JournalStore> => {
  const { staging } = target;
  if (left === undefined) await rm(staging, { recursive: true, force: true });
  await makeParents(staging);
  await mkdir(staging, { recursive: true, mode: 0o700 });
  if (left?.swap !== undefined) {
    const store = new JournalStore(staging, left);
    await store.change((current) => ({ ...current, run: instruction.run }));
    return store;
  }
  const { journal, discard } =
    left === undefined
      ? { journal: newJournal(instruction.run, target.directory, instruction.steps), discard: [] }
      : resume(left, instruction.run, instruction.steps);
  // Removed before the journal forgets them: a crash in between only removes them again.
  for (const index of discard) await rm(stepDirectory(staging, index), { recursive: true, force: true });
  const store = new JournalStore(staging, journal);
  await store.change((current) => current);
  return store;
};

/**
 * After a failure before the hand-over: what the next try can go on from stays; where no other try of the same can succeed, nothing does.
 * `NotEnoughSpace` is found before anything is written, so what an earlier run left is as good as it was.
 */
const leaveBehind = async (
  instruction: RestoreInstruction,
  target: Target,
  journal: JournalStore,
  error: RedoubtError,
  log: RunContext['log'],
): Promise<void> => {
  try {
    if (error.retryable || error.code === 'NotEnoughSpace') {
      const kept = await openJournal(instruction, target, journal.current);
      if (kept.current.steps.some(({ state }) => state !== 'pending')) return;
    }
    await rm(target.staging, { recursive: true, force: true });
  } catch (failure) {
    log(`${target.staging} could not be cleared: ${asRedoubtError(failure).detail}`);
  }
};

/** The ready directory appears at the target in one rename; on a mount point, entry by entry. */
const handOverPrepared = async (
  target: Target,
  instruction: RestoreInstruction,
  journal: JournalStore,
): Promise<void> => {
  if (journal.current.swap === undefined) {
    await giveAway(target, instruction.server.owner, false);
    if (target.handOver === 'rename')
      await rmdir(target.directory).catch((error: NodeJS.ErrnoException) => {
        if (error.code === 'ENOENT') return;
        throw new RedoubtError('TargetNotEmpty', `${target.directory} was filled by somebody in the meantime`);
      });
    await journal.change((current) => beginSwap(current, { mode: 'prepare-only', aside: undefined, serverRan: false }));
  }
  if (target.handOver === 'rename') await carrySwap(target, journal.current.swap as Swap);
  else await spreadIn(target);
  await relabel(target.directory);
};

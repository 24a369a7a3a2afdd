import { readdir, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { ServerConfig } from '#core/cluster-config.ts';
import { RedoubtError } from '#core/errors.ts';
import type { Canary } from '#core/manifest.ts';
import { asideName, carrySwap, checkOwner, giveAway, relabel, serverOutput, stagedData } from './hand-over.ts';
import { beginSwap, reverseSwap, type Swap } from './journal.ts';
import type { JournalStore } from './journal-store.ts';
import { serverLogTail, serverRunsOn, startServer, stopServer } from './server-control.ts';
import { resolveReal, type Target } from './target.ts';

/** A server as it answers at its socket. */
export interface ServerLook {
  readonly version: string;
  readonly variables: Readonly<Record<string, string>>;
  /** Whether the canary asked for is in it. */
  readonly hasCanary: boolean;
}

/** `undefined` where nobody answers at the socket. Throws `ServerAccessDenied`. */
export type LookAtServer = (server: ServerConfig, canary: Canary | undefined) => Promise<ServerLook | undefined>;

/** A prepared directory starts within seconds; a large buffer pool is slow to allocate, and a first start upgrades. */
const START_WAIT_MS = 300_000;

const OUTSIDE = ['innodb_data_home_dir', 'innodb_log_group_home_dir', 'innodb_undo_directory'] as const;

const liesWithin = async (path: string, directory: string): Promise<boolean> => {
  if (path === '' || path === '.' || path === './') return true;
  const real = await resolveReal(path.startsWith('/') ? path : join(directory, path));
  return `${real}/`.startsWith(`${directory}/`);
};

/**
 * Whether the server's data directory can be replaced as one directory, before anything is downloaded. Throws `DataDirectoryMismatch` where
 * the server at the socket works on another one; `InvalidInput` where InnoDB keeps redo, undo or its system tablespace outside of it (a restored
 * server would take the old redo for its own and ruin both), or where the owner is unknown. Answers what the server said, if it runs.
 */
export const checkReplaceable = async (
  target: Target,
  server: ServerConfig,
  lookAtServer: LookAtServer,
): Promise<ServerLook | undefined> => {
  await checkOwner(server.owner);
  const look = await lookAtServer(server, undefined).catch((error: unknown) => {
    // A server that refuses the user of the option file can still be stopped and replaced; it only tells nothing.
    if (error instanceof RedoubtError && error.code === 'ServerAccessDenied') return undefined;
    throw error;
  });
  if (look === undefined) {
    const names = new Set(await readdir(target.directory).catch(() => []));
    const hasRedo = names.has('ib_logfile0') || names.has('#innodb_redo');
    if (names.has('ibdata1') && !hasRedo)
      throw new RedoubtError(
        'InvalidInput',
        `${target.directory} has ibdata1 but no redo log, and no server answers to say where it is: move the directory away if it is damaged`,
      );
    return undefined;
  }
  const dataDirectory = await resolveReal(look.variables.datadir ?? '');
  if (dataDirectory !== target.directory)
    throw new RedoubtError(
      'DataDirectoryMismatch',
      `the server at ${server.socket} works on ${dataDirectory}, not on ${target.directory}`,
    );
  for (const name of OUTSIDE) {
    const value = look.variables[name] ?? '';
    if (!(await liesWithin(value, target.directory)))
      throw new RedoubtError(
        'InvalidInput',
        `${name} of the server is ${value}, outside its data directory: restore with prepare-only and copy back`,
      );
  }
  return look;
};

export interface ReplaceRequest {
  readonly target: Target;
  readonly server: ServerConfig;
  readonly journal: JournalStore;
  readonly run: string;
  /** Of the backup restored to; absent where that was taken on a read-only replica. */
  readonly canary: Canary | undefined;
  readonly lookAtServer: LookAtServer;
  /** What the server said before, if it ran. */
  readonly before: ServerLook | undefined;
  readonly signal: AbortSignal;
  readonly log: (line: string) => void;
  readonly startWaitMs?: number;
}

export interface Replaced {
  readonly movedAside: string | undefined;
  readonly serverVersion: string;
}

/** The old server again, where one ran. Answers what is wrong with it, in words. */
const startOld = async (request: ReplaceRequest, swap: Swap): Promise<string | undefined> => {
  if (!swap.serverRan || (await serverRunsOn(request.target.directory))) return undefined;
  const outcome = await startServer({
    server: request.server,
    directory: request.target.directory,
    output: serverOutput(request.target),
    // A refusal is an answer as well: it runs.
    ask: () =>
      request.lookAtServer(request.server, undefined).then(
        (look) => (look === undefined ? undefined : true),
        () => true,
      ),
    waitMs: request.startWaitMs ?? START_WAIT_MS,
    signal: undefined,
  });
  return outcome.kind === 'answered' ? undefined : outcome.why;
};

/**
 * Puts the old data directory back in its place and starts its server, where one ran; from whatever point of a hand-over. Answers what
 * could not be made good again, in words.
 */
export const putOldBack = async (request: ReplaceRequest): Promise<string | undefined> => {
  await stopServer(request.server, request.target.directory);
  if (request.journal.current.swap?.direction === 'in') await request.journal.change(reverseSwap);
  const swap = request.journal.current.swap as Swap;
  await carrySwap(request.target, swap);
  await relabel(request.target.directory);
  return startOld(request, swap);
};

/**
 * Puts the prepared directory in the place of the server's data directory, starts the server and checks it. The order is the safety argument:
 *
 * 1. Owner and mode are set while the directory is still staged, so what is moved in is complete.
 * 2. The journal says that the hand-over begins, and where the old directory will be, before anything is touched.
 * 3. The server is stopped; nothing is moved while a server has it open.
 * 4. Two renames (`carrySwap`). The old directory is moved, never written to and never deleted.
 * 5. The server is started and must answer, on this directory, with the canary of this very backup.
 * 6. If it does not: the same way back, and the old server runs again. `RestoredServerFailed`.
 *
 * A crash after any of these is continued when the same run comes again. Another run begins anew where nothing was moved, goes on between the
 * renames if its steps are the same, and else gets the old directory back first, or takes what is in the place by now for the old one.
 */
export const replaceDataDirectory = async (request: ReplaceRequest): Promise<Replaced> => {
  const { target, server, journal, signal } = request;
  if (journal.current.swap === undefined) {
    await giveAway(target, server.owner, true);
    const entries = await readdir(target.directory).catch(() => undefined);
    // There is nothing to keep of an empty directory, and nothing to put back.
    if (entries?.length === 0) await rmdir(target.directory);
    const aside =
      entries === undefined || entries.length === 0 ? undefined : await asideName(target.directory, request.run);
    const serverRan = await serverRunsOn(target.directory);
    signal.throwIfAborted();
    await journal.change((current) => beginSwap(current, { mode: 'replace', aside, serverRan }));
  }
  const swap = journal.current.swap as Swap;
  if (!(await isOver(target))) {
    await stopServer(server, target.directory);
    await carrySwap(target, swap);
    request.log(
      `[Replaced] ${target.directory}${swap.aside === undefined ? '' : `; the old one is now ${swap.aside}`}`,
    );
  }
  await relabel(target.directory);

  const failure = await startNew(request);
  if (failure.kind === 'answered') return { movedAside: swap.aside, serverVersion: failure.answer.version };

  const tail = await serverLogTail(server, target.directory, request.before?.variables.log_error, serverOutput(target));
  if (swap.aside === undefined) {
    signal.throwIfAborted();
    throw new RedoubtError(
      'RestoredServerFailed',
      `${failure.why}; there was no old data directory to put back, the restored one stays in place\n${tail}`,
    );
  }
  const problem = await putOldBack(request);
  signal.throwIfAborted();
  throw new RedoubtError(
    'RestoredServerFailed',
    `${failure.why}${problem === undefined ? '' : `; the old server does not run either: ${problem}`}\n${tail}`,
  );
};

/** Whether the prepared directory has left the staging directory. */
const isOver = async (target: Target): Promise<boolean> =>
  (await readdir(stagedData(target)).catch(() => undefined)) === undefined;

const startNew = async (
  request: ReplaceRequest,
): Promise<
  { readonly kind: 'answered'; readonly answer: ServerLook } | { readonly kind: 'failed'; readonly why: string }
> => {
  const { target, server, canary } = request;
  const outcome = await startServer({
    server,
    directory: target.directory,
    output: serverOutput(target),
    ask: () => request.lookAtServer(server, canary),
    waitMs: request.startWaitMs ?? START_WAIT_MS,
    signal: request.signal,
  }).catch((error: unknown) => ({ kind: 'failed' as const, why: `the run was ended: ${String(error)}` }));
  if (outcome.kind === 'failed') return outcome;
  const look = outcome.answer;
  const dataDirectory = await resolveReal(look.variables.datadir ?? '');
  if (dataDirectory !== target.directory)
    return { kind: 'failed', why: `the server that answers works on ${dataDirectory}` };
  if (canary !== undefined && !look.hasCanary)
    return { kind: 'failed', why: `the canary of ${canary.backup} is not in the restored server` };
  return outcome;
};

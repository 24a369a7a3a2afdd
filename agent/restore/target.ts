import { mkdir, readdir, readFile, realpath, stat, statfs } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { RestoreInstruction } from '#core/agent-protocol.ts';
import { RedoubtError } from '#core/errors.ts';
import { processesUsing } from './processes-using.ts';

/** Where a restore goes, and where it is put together. */
export interface Target {
  /** The real path of the directory asked for; the directory itself need not exist. */
  readonly directory: string;
  /** On the same filesystem, and the same for every run with this target: that is how the next run finds the journal. */
  readonly staging: string;
  /** `rename`: the ready directory takes its place in one step. `spread`: the target is a mount point, its entries move in one by one. */
  readonly handOver: 'rename' | 'spread';
  /** Of the directory as it is now; `undefined` where there is none. */
  readonly mode: number | undefined;
}

const missing = (error: unknown): undefined => {
  if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
  throw error;
};

/** The real path of `path`, whose last parts need not exist. */
export const resolveReal = async (path: string): Promise<string> => {
  const real = await realpath(path).catch(missing);
  if (real !== undefined) return real;
  const parent = dirname(path);
  return parent === path ? path : join(await resolveReal(parent), basename(path));
};

/** Mount points of this process, bind mounts included; `\040` stands for a space (proc_pid_mountinfo(5)). */
const mountPoints = async (): Promise<ReadonlySet<string>> => {
  const lines = (await readFile('/proc/self/mountinfo', 'utf8')).split('\n');
  return new Set(
    lines.map((line) =>
      (line.split(' ')[4] ?? '').replace(/\\(\d{3})/g, (_, octal: string) =>
        String.fromCharCode(Number.parseInt(octal, 8)),
      ),
    ),
  );
};

/**
 * Resolves the directory of an instruction. Throws `InvalidInput` for one that cannot be a target: a file, the root, a directory within the
 * server's data directory, or, to be replaced, one that cannot be moved because it is a mount point; `DataDirectoryMismatch` where another than
 * the server's own directory is to be replaced.
 */
export const resolveTarget = async (
  instruction: Pick<RestoreInstruction, 'directory' | 'mode' | 'server'>,
): Promise<Target> => {
  const directory = await resolveReal(instruction.directory);
  const dataDirectory = await resolveReal(instruction.server.dataDirectory);
  if (directory === '/') throw new RedoubtError('InvalidInput', 'the root directory cannot be a target');
  if (instruction.mode === 'replace' && directory !== dataDirectory)
    throw new RedoubtError(
      'DataDirectoryMismatch',
      `${directory} is to be replaced, but the data directory of the server is ${dataDirectory}`,
    );
  if (directory.startsWith(`${dataDirectory}/`))
    throw new RedoubtError('InvalidInput', `${directory} lies within the data directory of the server`);
  const found = await stat(directory).catch(missing);
  if (found !== undefined && !found.isDirectory())
    throw new RedoubtError('InvalidInput', `${directory} is not a directory`);
  const mode = found === undefined ? undefined : found.mode & 0o7777;
  if (!(await mountPoints()).has(directory))
    return {
      directory,
      staging: join(dirname(directory), `.redoubt-restore-${basename(directory)}`),
      handOver: 'rename',
      mode,
    };
  // Its old content could only be kept within it, and MySQL 8 scans its data directory for tablespaces and does not start where it finds two of
  // the same id (its manual, "Moving Tablespace Files While the Server is Offline").
  if (instruction.mode === 'replace')
    throw new RedoubtError(
      'InvalidInput',
      `${directory} is a mount point and cannot be moved aside; nothing was touched. Mount an empty volume elsewhere, restore into it with ` +
        `prepare-only, stop the server, mount that volume at ${directory} instead of the old one, and start the server. For replace, ` +
        'let the data directory be a directory below the mount point',
    );
  return { directory, staging: join(directory, '.redoubt-restore'), handOver: 'spread', mode };
};

/** Throws `TargetInUse` where a process has files of the target open, `TargetNotEmpty` where it holds anything that is not ours. */
export const checkEmpty = async (target: Target): Promise<void> => {
  const [user] = await processesUsing(target.directory);
  if (user !== undefined)
    throw new RedoubtError('TargetInUse', `process ${user.pid} (${user.name}) works on ${target.directory}`);
  // A fresh ext4 volume is not empty: it holds lost+found.
  const ours = target.handOver === 'spread' ? ['lost+found', basename(target.staging)] : [];
  const entries = ((await readdir(target.directory).catch(missing)) ?? []).filter((entry) => !ours.includes(entry));
  if (entries.length > 0)
    throw new RedoubtError(
      'TargetNotEmpty',
      `${target.directory} holds ${entries.length} entries, among them ${entries.slice(0, 3).join(', ')}`,
    );
};

const gib = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(2)} GiB`;

/** Room for InnoDB's own files and for what redo makes tables grow by, beyond what redo itself takes. */
const HEAD_ROOM = 64 * 1024 * 1024;

/**
 * What the steps still to be extracted need: their files, and once more the redo between `to_lsn` and `last_lsn`, which prepare turns into pages.
 * No increment is counted as gone once it is applied: it may have grown the base by as much.
 */
export const bytesNeeded = (
  steps: readonly { readonly restoredBytes: number; readonly toLsn: bigint; readonly lastLsn: bigint }[],
): number => steps.reduce((sum, step) => sum + step.restoredBytes + Number(step.lastLsn - step.toLsn), 0) + HEAD_ROOM;

/** Throws `NotEnoughSpace` unless the filesystem that will hold `path` has `needed` bytes free. */
export const checkSpace = async (path: string, needed: number): Promise<void> => {
  let existing = path;
  while ((await stat(existing).catch(missing)) === undefined) existing = dirname(existing);
  const { bavail, bsize } = await statfs(existing);
  const free = bavail * bsize;
  if (free < needed)
    throw new RedoubtError(
      'NotEnoughSpace',
      `${existing} has ${gib(free)} free, the restore needs ${gib(needed)} (${free} and ${needed} bytes)`,
    );
};

/** Makes the directories above `path`. */
export const makeParents = async (path: string): Promise<void> => {
  await mkdir(dirname(path), { recursive: true });
};

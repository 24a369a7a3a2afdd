import { access, chmod, readdir, rename, rmdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { RedoubtError } from '#core/errors.ts';
import { nextMove, type Swap, type SwapFacts, swapPosition } from './journal.ts';
import { runProgram } from './run-program.ts';
import { syncDirectory } from './sync-directory.ts';
import type { Target } from './target.ts';

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );

/** The prepared directory within a staging directory. */
export const stagedData = (target: Target): string => join(target.staging, 'data');

/** What the start command of a server says; a server it leaves behind may keep it open. */
export const serverOutput = (target: Target): string => join(target.staging, 'server-output.log');

/** Which of the directories of a hand-over exist. */
export const swapFacts = async (target: Target, { aside }: Swap): Promise<SwapFacts> => ({
  directory: await exists(target.directory),
  aside: aside !== undefined && (await exists(aside)),
  staged: await exists(stagedData(target)),
});

/**
 * Carries a hand-over to its end, from wherever a crash left it. Each turn looks at the disk, does the one rename that comes next and makes it
 * durable before the next one:
 *
 * in: old ▸ aside, new ▸ its place. Between the two there is no data directory, so no server can start on half of anything; the
 * old one is whole beside it all the time and is never written to.
 * out: new ▸ staging, old ▸ its place: the same steps backwards, through the same states.
 *
 * Throws `Unexpected` where the directories are in a state that no order of these renames leaves: somebody else moved them.
 */
export const carrySwap = async (target: Target, swap: Swap): Promise<void> => {
  const { directory } = target;
  const staged = stagedData(target);
  const aside = swap.aside;
  for (;;) {
    const facts = await swapFacts(target, swap);
    const position = swapPosition(swap, facts);
    if (position === 'unknown')
      throw new RedoubtError(
        'Unexpected',
        `the hand-over into ${directory} cannot go on: ${Object.entries(facts)
          .map(([name, is]) => `${name} ${is ? 'exists' : 'is missing'}`)
          .join(', ')}; somebody moved them since`,
      );
    switch (nextMove(swap, position)) {
      case 'old-aside':
        await rename(directory, aside as string);
        break;
      case 'new-in':
        await rename(staged, directory);
        break;
      case 'new-out':
        await rename(directory, staged);
        break;
      case 'old-back':
        await rename(aside as string, directory);
        break;
      case 'done':
        return;
    }
    await syncDirectory(dirname(directory));
    await syncDirectory(target.staging);
  }
};

/** For a mount point, which no rename can replace: its entries move in one by one; again after a crash, those that are left. */
export const spreadIn = async (target: Target): Promise<void> => {
  const staged = stagedData(target);
  for (const entry of await readdir(staged).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  }))
    await rename(join(staged, entry), join(target.directory, entry));
  await syncDirectory(target.directory);
  await rmdir(staged).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
  });
};

/** Throws `InvalidInput` where the host has no such user. */
export const checkOwner = async (owner: string): Promise<void> => {
  if ((await runProgram(['id', '--user', owner])).code !== 0)
    throw new RedoubtError('InvalidInput', `this host has no user ${owner} to own the data directory`);
};

/**
 * Gives the prepared directory its owner and mode while it is still staged: what takes the old one's place is complete. Where nobody asked for a
 * server here and the host has no such user, it stays root's.
 */
export const giveAway = async (target: Target, owner: string, mustExist: boolean): Promise<void> => {
  const staged = stagedData(target);
  await chmod(staged, target.mode ?? 0o700);
  const chowned = await runProgram(['chown', '--recursive', '--no-dereference', `${owner}:`, staged]);
  if (chowned.code !== 0 && mustExist)
    throw new RedoubtError('Unexpected', `${staged} cannot be given to ${owner}: ${chowned.said}`);
};

/** A name beside `directory` that is free. */
export const asideName = async (directory: string, run: string): Promise<string> => {
  for (let count = 1; ; count++) {
    const name = join(dirname(directory), `${basename(directory)}.redoubt-${run}${count === 1 ? '' : `-${count}`}`);
    if (!(await exists(name))) return name;
  }
};

/** Files keep the label of where they were made; on a host with SELinux a server may only read those of its own directory. */
export const relabel = async (directory: string): Promise<void> => {
  if (await exists('/sys/fs/selinux/enforce')) await runProgram(['restorecon', '-R', directory]);
};

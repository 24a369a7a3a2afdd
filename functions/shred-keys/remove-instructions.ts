import { z } from 'zod';
import { type ChainId, type ClusterId, chainIdSchema, type RunId } from '#core/ids.ts';
import { isInstructionKey, runPrefix } from '#core/object-keys.ts';
import type { Repository, StoredVersion } from '#core/ports/repository.ts';
import { inParallel } from '../runtime/in-parallel.ts';

const IN_PARALLEL = 8;

const ofChainSchema = z.object({ chain: chainIdSchema });

/**
 * Removes every version of every instruction of these runs of `cluster` that is about `chain`: the keys are in it. A run that fell back to a full
 * has instructions about two chains, so each is read. How many were removed.
 */
export const removeInstructions = async (
  repository: Repository,
  cluster: ClusterId,
  chain: ChainId,
  runs: readonly RunId[],
): Promise<number> => {
  const isAboutChain = async ({ key, version, isMarker }: StoredVersion): Promise<boolean> => {
    if (isMarker || !isInstructionKey(key)) return false;
    const stored = await repository.read(key, version);
    if (!stored) return false;
    try {
      return ofChainSchema.parse(JSON.parse(stored.text)).chain === chain;
    } catch {
      // Unreadable, but it may hold them all the same.
      return stored.text.includes(chain);
    }
  };
  const removed = await inParallel([...new Set(runs)], IN_PARALLEL, async (run) => {
    let count = 0;
    for (const version of await repository.versions(runPrefix({ cluster, run }))) {
      if (!(await isAboutChain(version))) continue;
      await repository.removeVersion(version);
      count += 1;
    }
    return count;
  });
  return removed.reduce((sum, count) => sum + count, 0);
};

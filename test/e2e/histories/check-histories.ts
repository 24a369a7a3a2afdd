import fc from 'fast-check';
import type { DatabaseUnderTest } from './database-under-test.ts';
import { History } from './history.ts';
import { example, steps } from './step.ts';

/**
 * Plays random histories. How many, `REDOUBT_HISTORIES` says. One that breaks a promise is printed with its seed and path;
 * `REDOUBT_HISTORY=<seed>,<path>` plays that one again and looks for a shorter one that fails too.
 */
export const checkHistories = async <Setting>(
  runs: number,
  settings: fc.Arbitrary<Setting>,
  create: (setting: Setting) => Promise<DatabaseUnderTest>,
  exampleSetting: Setting,
): Promise<void> => {
  const [seed, path] = process.env.REDOUBT_HISTORY?.split(',') ?? [];
  await fc.assert(
    fc.asyncProperty(settings, steps, async (setting, taken) => {
      const database = await create(setting);
      try {
        await History.play(database, taken);
      } finally {
        await database.close();
      }
    }),
    {
      numRuns: path === undefined ? Number(process.env.REDOUBT_HISTORIES ?? runs) : 1,
      // Also where one is played again: they count in its path.
      examples: [[exampleSetting, example]],
      endOnFailure: path === undefined,
      ...(seed !== undefined && { seed: Number(seed) }),
      ...(path !== undefined && { path }),
    },
  );
};

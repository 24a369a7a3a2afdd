import { readdirSync } from 'node:fs';
import { expect } from 'vitest';
import { type FaultLab, nothing } from './fault-lab.ts';

/** What every fault has to leave behind: nothing, and a cluster whose next backup succeeds. */
export const expectRecovered = async (lab: FaultLab): Promise<void> => {
  expect(await lab.leftovers()).toEqual(nothing);
  await lab.backUp();
  expect(await lab.leftovers()).toEqual(nothing);
  // What a killed agent had on disk, the next one removes.
  expect(readdirSync(lab.scratch)).toEqual([]);
};

import { expect } from 'vitest';
import { type FaultLab, nothing } from './fault-lab.ts';

/** What every fault has to leave behind: nothing, and a cluster whose next backup succeeds. */
export const expectRecovered = async (lab: FaultLab): Promise<void> => {
  expect(await lab.leftovers()).toEqual(nothing);
  await lab.backUp();
  expect(await lab.leftovers()).toEqual(nothing);
};

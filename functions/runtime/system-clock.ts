import { setTimeout } from 'node:timers/promises';
import type { Clock } from '#core/ports/clock.ts';

export const systemClock: Clock = {
  now: () => new Date(),
  pause: async (milliseconds) => {
    await setTimeout(milliseconds);
  },
};

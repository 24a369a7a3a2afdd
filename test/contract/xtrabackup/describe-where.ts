import { describe } from 'vitest';

/** `describe`; where there is a reason against it, all of it is skipped, and the title says why. */
export const describeWhere = (whyNot: string | undefined, title: string, tests: () => void): void => {
  if (whyNot === undefined) describe(title, tests);
  else describe.skip(`${title} (skipped: ${whyNot})`, tests);
};

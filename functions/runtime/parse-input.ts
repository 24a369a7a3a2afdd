import type { z } from 'zod';
import { RedoubtError } from '#core/errors.ts';

/** The event as `schema` reads it; throws `InvalidInput` with every problem found. */
export const parseInput = <Schema extends z.ZodType>(schema: Schema, event: unknown): z.output<Schema> => {
  const parsed = schema.safeParse(event);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map(({ path, message }) => `${path.join('.') || 'input'}: ${message}`);
  throw new RedoubtError('InvalidInput', problems.join('; '));
};

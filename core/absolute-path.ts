import { z } from 'zod';

/** An absolute path that needs no quoting in an option file or a shell, and stays where it says. */
export const absolutePathSchema = z
  .string()
  .regex(/^\/[A-Za-z0-9._/@:+-]*$/, 'an absolute path of letters, digits and . _ / @ : + -')
  .refine((path) => !path.split('/').includes('..'), 'a path without ..');

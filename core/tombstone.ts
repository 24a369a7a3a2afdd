import { z } from 'zod';

/**
 * What lies in the place of the manifest of a backup that was given up. It is put as a manifest is, only where nothing lies yet: so
 * of who commits a backup and who removes it exactly one wins.
 */
const tombstoneSchema = z.strictObject({
  format: z.literal('redoubt-tombstone'),
  version: z.literal(1),
  /** When it was given up. */
  at: z.iso.datetime(),
});

export const encodeTombstone = (at: Date): string =>
  JSON.stringify({ format: 'redoubt-tombstone', version: 1, at: at.toISOString() });

/** When the backup was given up whose tombstone `text` is; `undefined` where it is anything else: nothing hides in a tombstone. */
export const tombstoneTime = (text: string): Date | undefined => {
  try {
    const { data } = tombstoneSchema.safeParse(JSON.parse(text));
    return data && new Date(data.at);
  } catch {
    return undefined;
  }
};

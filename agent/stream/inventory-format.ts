import { z } from 'zod';

/** One file of the stream. `crc32` is of its whole content, holes read as zeros. */
export const inventoryFileSchema = z.object({
  path: z.string().min(1),
  bytes: z.number().int().nonnegative(),
  crc32: z.number().int().min(0).max(0xffffffff),
  /** Of a file the engine encrypted: its size once it is decrypted. */
  plainBytes: z.number().int().nonnegative().optional(),
});
export type InventoryFile = Readonly<z.infer<typeof inventoryFileSchema>>;

/** What lies, sealed, under the inventory's key: every file the engine sent, in order of path. */
export const inventoryDocumentSchema = z.object({
  format: z.literal('redoubt-inventory'),
  version: z.literal(1),
  files: z.array(inventoryFileSchema).readonly(),
});
export type InventoryDocument = Readonly<z.infer<typeof inventoryDocumentSchema>>;

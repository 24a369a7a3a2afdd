import { z } from 'zod';
import type { KeyringKey } from './keyring-key.ts';

const documentSchema = z.looseObject({
  version: z.string(),
  elements: z.array(z.looseObject({ data_id: z.string(), data: z.string().regex(/^([0-9A-Fa-f]{2})*$/) })),
});

/**
 * The keys in the data file of MySQL's component_keyring_file: JSON, key bytes in hex. Returns what is wrong with it, in words, where it
 * is no such file.
 */
export const parseComponentKeyring = (content: Buffer): readonly KeyringKey[] | string => {
  if (content.length === 0) return 'it is empty';
  let json: unknown;
  try {
    json = JSON.parse(content.toString('utf8'));
  } catch {
    return 'it is not JSON, as the data file of component_keyring_file is';
  }
  const parsed = documentSchema.safeParse(json);
  if (!parsed.success) return 'it is not a data file of component_keyring_file';
  const keys = parsed.data.elements.map(({ data_id, data }) => ({ name: data_id, bytes: Buffer.from(data, 'hex') }));
  return keys.length === 0 ? 'it holds no key' : keys;
};

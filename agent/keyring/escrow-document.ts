import { z } from 'zod';
import { RedoubtError } from '#core/errors.ts';
import { canonicalJson } from '#core/manifest.ts';
import { keyringKindSchema } from '#core/tablespace-encryption.ts';
import type { KeyringPart, KeyringSnapshot } from './keyring-snapshot.ts';

/**
 * What lies, sealed, under a backup's keyring key: the files of the keyring, whole. `keyring` is the keyring or key file itself, `key-file-key`
 * what opens an encrypted key file, `config` a configuration with credentials.
 */
export const escrowDocumentSchema = z.object({
  format: z.literal('redoubt-keyring'),
  version: z.literal(1),
  kind: keyringKindSchema,
  files: z
    .array(
      z.object({
        role: z.enum(['keyring', 'key-file-key', 'config']),
        /** The file's own name: components insist on theirs. */
        name: z.string().regex(/^[^/\0]+$/),
        /** Base64. */
        content: z.base64(),
      }),
    )
    .min(1)
    .readonly(),
});
export type EscrowDocument = Readonly<z.infer<typeof escrowDocumentSchema>>;

/** One byte form of one keyring: it is what is fingerprinted. */
export const encodeEscrow = ({ kind, files }: Pick<KeyringSnapshot, 'kind' | 'files'>): Buffer =>
  Buffer.from(
    canonicalJson({
      format: 'redoubt-keyring',
      version: 1,
      kind,
      files: files.map(({ role, name, content }) => ({ role, name, content: content.toString('base64') })),
    }),
  );

/** The files an escrow document holds. Throws `ObjectTampered` where it is none. */
export const decodeEscrow = (content: Buffer): Pick<KeyringSnapshot, 'kind' | 'files'> => {
  let json: unknown;
  try {
    json = JSON.parse(content.toString('utf8'));
  } catch {
    json = undefined;
  }
  const parsed = escrowDocumentSchema.safeParse(json);
  if (!parsed.success) throw new RedoubtError('ObjectTampered', 'the escrowed keyring cannot be read by this agent');
  const { kind, files } = parsed.data;
  return {
    kind,
    files: files.map(
      ({ role, name, content: text }): KeyringPart => ({ role, name, content: Buffer.from(text, 'base64') }),
    ),
  };
};

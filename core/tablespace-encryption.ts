import { z } from 'zod';
import { absolutePathSchema } from './absolute-path.ts';

/**
 * How a backup of encrypted tablespaces stays restorable without the server's keyring: not at all (the escrowed keyring is
 * needed), by a passphrase from KMS (`--transition-key`), or by a key the engine leaves in the keyring
 * (`--generate-transition-key`).
 */
export const transitionSchema = z.enum(['none', 'passphrase', 'generated']);

const transition = transitionSchema.default('none');

/**
 * Where the server keeps the keys of its encrypted tablespaces. `config` files carry credentials: they are sealed before they
 * are stored, and handed to the engine on tmpfs only.
 */
export const tablespaceEncryptionSchema = z.discriminatedUnion('kind', [
  /** MySQL 5.7 and 8.0: the plugin, one file. */
  z.strictObject({ kind: z.literal('keyring-file'), path: absolutePathSchema, transition }),
  /** MySQL 8.0.24 and later: the component; `path` is the data file its configuration names. */
  z.strictObject({ kind: z.literal('component-keyring-file'), path: absolutePathSchema, transition }),
  /** MySQL 5.7 (Percona Server) and 8.0: the plugin. */
  z.strictObject({ kind: z.literal('keyring-vault'), config: absolutePathSchema, transition }),
  z.strictObject({
    kind: z.enum(['component-keyring-vault', 'component-keyring-kmip', 'component-keyring-kms']),
    config: absolutePathSchema,
    transition,
  }),
  /** MariaDB: `file_key_management`; `keyFileKey` opens an encrypted key file (`file_key_management_filekey=FILE:…`). */
  z.strictObject({
    kind: z.literal('file-key-management'),
    path: absolutePathSchema,
    keyFileKey: absolutePathSchema.optional(),
  }),
]);
export type TablespaceEncryption = Readonly<z.infer<typeof tablespaceEncryptionSchema>>;
export type Transition = z.infer<typeof transitionSchema>;

export const keyringKindSchema = z.enum([
  'keyring-file',
  'component-keyring-file',
  'keyring-vault',
  'component-keyring-vault',
  'component-keyring-kmip',
  'component-keyring-kms',
  'file-key-management',
]);
export type KeyringKind = z.infer<typeof keyringKindSchema>;

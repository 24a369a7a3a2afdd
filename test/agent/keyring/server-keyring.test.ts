import { expect, it } from 'vitest';
import { readServerKeyring } from '#agent/keyring/server-keyring.ts';
import type { ServerFacts } from '#agent/server/server-facts.ts';

const serverWith = (variables: Readonly<Record<string, string>>) =>
  ({ tablespaces: [], variables }) as unknown as ServerFacts;

it.each([
  ['innodb_encrypt_log', 'ON'],
  ['innodb_redo_log_encrypt', 'ON'],
  // As Percona Server has it.
  ['innodb_redo_log_encrypt', 'MASTER_KEY'],
  ['innodb_undo_log_encrypt', 'ON'],
  ['binlog_encryption', 'ON'],
])('a server that encrypts nothing but its log (%s=%s) is not backed up without a keyring', async (name, value) => {
  await expect(readServerKeyring(undefined, serverWith({ [name]: value }))).rejects.toMatchObject({
    code: 'EncryptionUnsupported',
    detail: expect.stringContaining(`the server runs with ${name}=${value}`),
  });
  expect(await readServerKeyring(undefined, serverWith({ [name]: 'OFF' }))).toBeUndefined();
});

import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { OpenEscrow } from '#agent/keyring/fetch-escrow.ts';
import { filesToPrepareWith } from '#agent/keyring/files-to-prepare-with.ts';
import { KeyringFingerprint } from '#agent/keyring/keyring-fingerprint.ts';
import type { KeyringPart } from '#agent/keyring/keyring-snapshot.ts';
import { masterKeyNames } from '#agent/keyring/tablespace-keys.ts';
import { installEscrow, lookAtTargetKeyring, readOwnKeyring } from '#agent/keyring/target-keyring.ts';
import { checkTargetKeyring, handOverKeyring, type RestoreKeys } from '#agent/restore/restore-keys.ts';
import type { RestoreInstruction } from '#core/agent-protocol.ts';
import type { KeyringKind, TablespaceEncryption, Transition } from '#core/tablespace-encryption.ts';
import { INFO_AT, wrapKey } from '#test/doubles/page-store/encryption-info.ts';
import { sampleAddress, sampleManifest } from '#test/doubles/sample-manifest.ts';

// Keys that are in a Vault, behind KMIP or in AWS KMS: the host only has a configuration with credentials.

const UUID = '0c2f0a10-e62a-11f1-8917-02fc00000001';
const SERVICES = [
  'keyring-vault',
  'component-keyring-vault',
  'component-keyring-kmip',
  'component-keyring-kms',
] as const;
const fingerprint = new KeyringFingerprint(Buffer.alloc(32, 1));

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'redoubt-service-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const file = (name: string, content: string): string => {
  const path = join(directory, name);
  writeFileSync(path, content, { mode: 0o600 });
  return path;
};
const part = (role: KeyringPart['role'], content: string): KeyringPart => ({
  role,
  name: role,
  content: Buffer.from(content),
});
const configOf = (kind: KeyringKind, config: string, transition: Transition = 'none'): TablespaceEncryption =>
  ({ kind, config, transition }) as TablespaceEncryption;

const escrowOf = (kind: KeyringKind, files: readonly KeyringPart[], transition: Transition = 'none') => {
  const at = sampleAddress(0);
  const object = { key: 'clusters/shop/keyring.sealed', bytes: 1, sha256: 'a'.repeat(64) };
  const keyIds = [`INNODBKey-${UUID}-3`];
  const manifest = sampleManifest(at, { keyring: { kind, object, fingerprint: 'b'.repeat(64), keyIds, transition } });
  const open = { escrow: manifest.keyring, files, destroy: () => undefined } as OpenEscrow;
  return { manifest, open };
};

describe.each(SERVICES)('a backup of a server with %s', (kind) => {
  it('is prepared with the host’s own configuration, whose token is of today, or else with the escrowed one', async () => {
    const { open } = escrowOf(kind, [part('config', 'then'), part('keyring', 'data')]);
    const own = await filesToPrepareWith(open, configOf(kind, file('today.conf', 'today')));
    expect(own.map(({ role, content }) => [role, content.toString()])).toEqual([
      ['config', 'today'],
      ['keyring', 'data'],
    ]);
    for (const target of [undefined, configOf(kind, join(directory, 'nowhere')), { kind: 'keyring-file', path: '/k' }])
      expect(await filesToPrepareWith(open, target as TablespaceEncryption | undefined)).toBe(open.files);
  });

  it('says after the restore which keys the service must still hold, and where the configuration is', async () => {
    const { manifest, open } = escrowOf(kind, [part('config', '{}')]);
    const log: string[] = [];
    const instruction = {
      mode: 'prepare-only',
      tablespaceEncryption: configOf(kind, file('c', '{}')),
    } as RestoreInstruction;
    const found = await checkTargetKeyring(instruction, manifest, fingerprint);
    expect(found).toEqual({ kind: 'in-service' });
    await handOverKeyring(
      instruction,
      { log: (line) => void log.push(line) },
      manifest,
      { escrows: [open] } as unknown as RestoreKeys,
      found,
    );
    expect(log).toEqual([
      expect.stringMatching(
        new RegExp(`needs a ${kind} with INNODBKey-${UUID}-3: the service must still hold them.*keyring\\.sealed`),
      ),
    ]);
  });
});

describe('the KMS component, which keeps wrapped keys in a file', () => {
  const kind = 'component-keyring-kms';

  it('has its file taken for the keys, and a new one where there is none', async () => {
    const place = join(directory, 'kms-keys');
    const config = configOf(kind, file('c', JSON.stringify({ path: place })));
    expect(await readOwnKeyring(config)).toMatchObject({ place, files: [{ role: 'config' }] });
    writeFileSync(place, 'keys');
    expect((await readOwnKeyring(config)).files.map(({ role }) => role)).toEqual(['config', 'keyring']);
  });

  it('gets its file back from the escrow where it is gone, for the server’s user alone, and not over one that is there', async () => {
    const place = join(directory, 'kms-keys');
    const config = configOf(kind, file('c', JSON.stringify({ path: place })));
    const { manifest, open } = escrowOf(kind, [part('config', '{}'), part('keyring', 'wrapped')]);
    expect(await lookAtTargetKeyring(config, manifest.keyring, fingerprint)).toEqual({
      kind: 'absent',
      paths: [place],
    });
    expect(await installEscrow(config, open, 'root', fingerprint)).toEqual([place]);
    expect(readFileSync(place, 'utf8')).toBe('wrapped');
    expect(statSync(place).mode & 0o777).toBe(0o600);
    writeFileSync(place, 'newer');
    expect(await installEscrow(config, open, 'root', fingerprint)).toEqual([]);
    expect(readFileSync(place, 'utf8')).toBe('newer');
  });
});

describe('a transition key', () => {
  it('that is in the keyring of the backup is refused at once where the server has a keyring: never overwritten', async () => {
    const { manifest } = escrowOf('keyring-file', [part('keyring', 'k')], 'generated');
    const target = (path: string) =>
      ({
        mode: 'prepare-only',
        tablespaceEncryption: { kind: 'keyring-file', path, transition: 'generated' },
      }) as RestoreInstruction;
    await expect(checkTargetKeyring(target(file('own', 'own')), manifest, fingerprint)).rejects.toMatchObject({
      code: 'KeyringUnreadable',
      detail: expect.stringContaining('move it away'),
    });
    expect(await checkTargetKeyring(target(join(directory, 'none')), manifest, fingerprint)).toEqual({
      kind: 'not-needed',
    });
  });

  it('needs the configuration of the service that gets the new master key', async () => {
    const { manifest } = escrowOf('keyring-vault', [part('config', 'c')], 'passphrase');
    const instruction = {
      mode: 'prepare-only',
      tablespaceEncryption: configOf('keyring-vault', join(directory, 'none'), 'passphrase'),
    };
    await expect(checkTargetKeyring(instruction as RestoreInstruction, manifest, fingerprint)).rejects.toMatchObject({
      code: 'KeyringUnreadable',
    });
  });
});

it('the master keys in use are read from the tablespaces, each once', async () => {
  const page = (id: number): Buffer => {
    const bytes = Buffer.alloc(16_384);
    wrapKey({ key: Buffer.alloc(32), iv: Buffer.alloc(32) }, Buffer.alloc(32), UUID, id).copy(bytes, INFO_AT);
    return bytes;
  };
  const paths = [2, 3, 3].map((id, index) => {
    const path = join(directory, `${index}.ibd`);
    writeFileSync(path, page(id));
    return path;
  });
  writeFileSync(join(directory, 'plain.ibd'), Buffer.alloc(16_384));
  expect(await masterKeyNames([...paths, join(directory, 'plain.ibd'), join(directory, 'gone.ibd')], 16_384)).toEqual([
    `INNODBKey-${UUID}-2`,
    `INNODBKey-${UUID}-3`,
  ]);
});

import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { failureOf } from '#test/agent/keyring/chain-lab.ts';
import { XtrabackupLab } from '#test/agent/keyring/xtrabackup-lab.ts';
import { describeWhere } from '#test/contract/xtrabackup/describe-where.ts';
import { whyNotComponent, whyNotVersion } from '#test/contract/xtrabackup/engine-home.ts';

// Versions that know transition keys: of the stand-in, or of an installation of that version. The one that was recorded knows none.

interface Modelled {
  readonly version: string;
  readonly component?: boolean;
}

for (const modelled of [
  { version: '2.4.29' },
  { version: '8.0.35' },
  { version: '8.0.35', component: true },
  { version: '8.4.0', component: true },
] as readonly Modelled[])
  describeWhere(
    whyNotVersion(modelled.version) ?? (modelled.component ? whyNotComponent() : undefined),
    `XtraBackup ${modelled.version}, component: ${modelled.component ?? false}`,
    () => {
      let lab: XtrabackupLab;
      const kind = modelled.component ? 'component-keyring-file' : 'keyring-file';

      beforeAll(async () => {
        lab = await XtrabackupLab.create(modelled);
      }, 60_000);

      afterAll(async () => {
        await lab?.close();
      });

      const chainWith = async (transition: 'none' | 'passphrase' | 'generated'): Promise<string> => {
        lab.chain.newChain();
        lab.chain.tablespaceEncryption = { kind, path: lab.keyring, transition };
        await lab.server.stayDirty();
        await lab.chain.backup();
        await lab.rotate();
        await lab.addRows('enc', 100);
        const sums = await lab.sums();
        await lab.chain.backup();
        return sums;
      };

      const withoutKeyring = async <T>(action: () => Promise<T>): Promise<T> => {
        renameSync(lab.keyring, `${lab.keyring}.away`);
        try {
          return await action();
        } finally {
          renameSync(`${lab.keyring}.away`, lab.keyring);
        }
      };

      it('restores with the escrowed keyring', async () => {
        const sums = await chainWith('none');
        const directory = lab.fresh('restored');
        await withoutKeyring(() => lab.chain.restore({ directory }));
        const keyring = lab.fresh('keyring');
        writeFileSync(keyring, readFileSync(lab.keyring));
        expect(await lab.sumsIn(directory, keyring)).toBe(sums);
      });

      it.each(['passphrase', 'generated'] as const)(
        'restores with a transition key (%s) under a new master key, in a keyring that was not there before',
        async (transition) => {
          const sums = await chainWith(transition);
          expect(lab.chain.taken.map(({ manifest }) => manifest.keyring?.transition)).toEqual([transition, transition]);
          const directory = lab.fresh('restored');
          const path = lab.fresh('keyring-of-target');
          await withoutKeyring(() =>
            lab.chain.restore({ directory, tablespaceEncryption: { kind, path, transition } }),
          );
          expect(statSync(path).mode & 0o777).toBe(0o600);
          const left = readdirSync(directory);
          expect(left).not.toContain('xtrabackup_keys');
          expect(left).toContain('xtrabackup_checkpoints');
          expect(await lab.sumsIn(directory, path)).toBe(sums);
        },
      );

      it('adds the new master key to the keyring of a server that has one, and keeps that beside', async () => {
        const sums = await chainWith('passphrase');
        const directory = lab.fresh('restored');
        const path = lab.fresh('keyring-of-target');
        writeFileSync(path, readFileSync(lab.keyring));
        await lab.chain.restore({ directory, tablespaceEncryption: { kind, path, transition: 'passphrase' } });
        expect(readFileSync(`${path}.redoubt-run-1`).equals(readFileSync(lab.keyring))).toBe(true);
        expect(readFileSync(path).equals(readFileSync(lab.keyring))).toBe(false);
        expect(await lab.sumsIn(directory, path)).toBe(sums);
      });

      it('refuses a transition key that is not the chain’s, and nothing is restored', async () => {
        await chainWith('passphrase');
        lab.chain.keys['transition-key'] = randomBytes(32);
        const directory = lab.fresh('restored');
        const path = lab.fresh('keyring-of-target');
        expect(
          await failureOf(
            lab.chain.restore({ directory, tablespaceEncryption: { kind, path, transition: 'passphrase' } }),
          ),
        ).toMatch(/^KeyringUnreadable: .*Wrong transition key/);
        expect(existsSync(directory) || existsSync(path)).toBe(false);
      });

      it('needs to be told whose keyring gets the new master key', async () => {
        await chainWith('passphrase');
        const instruction = lab.chain.instruction({ directory: join(lab.directory, 'never') });
        const { tablespaceEncryption: _, ...without } = instruction;
        lab.chain.tablespaceEncryption = undefined;
        expect(await failureOf(lab.chain.restore({ directory: without.directory }))).toMatch(
          /^EncryptionUnsupported: .* was taken with a transition key; name the keyring/,
        );
      });
    },
  );

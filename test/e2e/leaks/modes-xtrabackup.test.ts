import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { XtrabackupLab } from '#test/agent/keyring/xtrabackup-lab.ts';
import { describeWhere } from '#test/contract/xtrabackup/describe-where.ts';
import { isStandIn } from '#test/contract/xtrabackup/engine-home.ts';
import { masterKeysIn } from '#test/leaks/keyring-secrets.ts';
import { LeakWatch, toldToProcesses } from '#test/leaks/leak-watch.ts';
import { needlesOf, type Secret } from '#test/leaks/needles.ts';
import { openBackup } from '#test/leaks/open-backup.ts';
import { inPlaces, type Place } from '#test/leaks/place.ts';
import type { Sampled } from '#test/leaks/sampler-process.ts';
import { filesBelow, searchFiles } from '#test/leaks/search-files.ts';

// Each way an engine is given keys, by the agent's own commands; the same search goes through the whole product in the tests beside this one.

const PASSWORD = 'Xq7-leak-canary-password-93';

interface Way {
  readonly mode: 'sealed' | 'native' | 'native-and-sealed';
  readonly transition: 'none' | 'passphrase' | 'generated';
  /** Which one the stand-in models; absent: the installation under test as it is. */
  readonly version?: string;
  readonly component?: boolean;
}

const WAYS: readonly Way[] = [
  { mode: 'sealed', transition: 'none' },
  { mode: 'native-and-sealed', transition: 'none' },
  { mode: 'native', transition: 'passphrase', version: '2.4.29' },
  { mode: 'sealed', transition: 'generated', version: '2.4.29' },
  { mode: 'native', transition: 'passphrase', version: '8.0.35' },
  { mode: 'sealed', transition: 'none', version: '8.4.0', component: true },
];

for (const { mode, transition, version, component = false } of WAYS)
  describeWhere(
    version === undefined || isStandIn ? undefined : 'only the stand-in is other versions than it is',
    `a chain with a rotation and its restore: ${mode}, transition ${transition}, ${version ?? 'as installed'}`,
    () => {
      let lab: XtrabackupLab;
      let sampled: Sampled;
      let secrets: readonly Secret[];
      let exempt: readonly string[];

      beforeAll(async () => {
        lab = await XtrabackupLab.create({ component, ...(version === undefined ? {} : { version }) });
        const { chain, server, keyring } = lab;
        await server.query('SET sql_log_bin = 0');
        await server.query(`CREATE USER 'bk'@'localhost' IDENTIFIED BY '${PASSWORD}'`);
        await server.query("GRANT ALL PRIVILEGES ON *.* TO 'bk'@'localhost'");
        await server.query('SET sql_log_bin = 1');
        writeFileSync(chain.optionFile, `[client]\nuser=bk\npassword=${PASSWORD}\n`, { mode: 0o600 });
        chain.encryption = { mode, algorithm: 'AES256' };
        chain.history = { name: 'leaks', incrementBy: 'lsn' };
        const kind = component ? 'component-keyring-file' : 'keyring-file';
        chain.tablespaceEncryption = { kind, path: keyring, transition };
        exempt = [chain.optionFile, join(lab.directory, 'keyring')];
        const known: Secret[] = [
          ...Object.entries(chain.keys).map(([name, bytes]) => ({ name, bytes })),
          { name: 'the passphrase', bytes: Buffer.from(chain.keys['transition-key'].toString('base64url')) },
          { name: 'the password', bytes: Buffer.from(PASSWORD) },
          ...masterKeysIn(keyring),
        ];
        const except = [...exempt, server.files.dataDirectory];
        const watch = await LeakWatch.start({ directories: [lab.directory], except, secrets: known });
        await server.stayDirty();
        await chain.backup();
        await lab.addRows('enc', 100);
        await lab.rotate();
        await chain.backup();
        const path = transition === 'none' ? keyring : join(lab.directory, 'keyring', 'target');
        await chain.restore({ directory: lab.fresh('restored'), tablespaceEncryption: { kind, path, transition } });
        sampled = await watch.end();
        secrets = [...known, ...masterKeysIn(keyring), ...(existsSync(path) ? masterKeysIn(path) : [])];
      });

      afterAll(() => lab?.close());

      it('tells no process a secret, and leaves none in any file, not even for a while', () => {
        expect(sampled.texts.some((text) => text.includes('--prepare'))).toBe(true);
        expect(toldToProcesses(sampled, secrets)).toEqual([]);
        expect(sampled.inFiles).toEqual([]);
        expect(searchFiles(filesBelow(lab.directory, new Set(exempt)), needlesOf(secrets))).toEqual([]);
      });

      it('puts none into the bucket or what lies sealed in it, into what is said or into the history of the server', async () => {
        const { chain } = lab;
        const stored = [...chain.repository.objects].map(([name, content]) => ({ name, content }));
        expect(inPlaces(stored, secrets)).toEqual([]);
        for (const { manifest } of chain.taken) {
          const opened = await openBackup(
            manifest,
            chain.keys,
            async (key) => chain.repository.objects.get(key) as Buffer,
          );
          const info = opened.find(({ name }) => name.startsWith('xtrabackup_info '));
          expect(info?.content.toString()).toMatch(/tool_command = .*--backup/);
          expect(inPlaces(opened, secrets)).toEqual([]);
        }
        const recorded = await lab.server.query('SELECT * FROM PERCONA_SCHEMA.xtrabackup_history');
        expect(recorded).toHaveLength(2);
        const told: Place[] = [
          { name: 'log', content: Buffer.from(chain.log.join('\n')) },
          { name: 'history of the server', content: Buffer.from(JSON.stringify(recorded)) },
        ];
        expect(inPlaces(told, secrets)).toEqual([]);
      });
    },
  );

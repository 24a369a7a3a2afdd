import { readdirSync, writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { XtrabackupLab } from '#test/agent/keyring/xtrabackup-lab.ts';
import { isStandIn } from '#test/contract/xtrabackup/engine-home.ts';
import { masterKeysIn } from '#test/leaks/keyring-secrets.ts';
import { LeakLab } from '#test/leaks/leak-lab.ts';
import { toldToProcesses } from '#test/leaks/leak-watch.ts';
import { needlesOf, type Secret } from '#test/leaks/needles.ts';
import { inPlaces, type Place } from '#test/leaks/place.ts';
import type { Sampled } from '#test/leaks/sampler-process.ts';
import { filesBelow, searchFiles } from '#test/leaks/search-files.ts';

// The whole product on one machine with every kind of key at once: the agent seals and the engine encrypts, tablespaces are encrypted, the
// master key is rotated, and the restore goes by a transition key where the version knows one. The stand-in, or the installation
// REDOUBT_XTRABACKUP_HOME names.

const PASSWORD = 'Xq7-leak-canary-password-93';
const cluster = 'leak-xtrabackup';
const instance = 'i-0a4c9e1b7d2f50863';

let mysql: XtrabackupLab;
let lab: LeakLab;
const sampled: Sampled[] = [];
const secrets: Secret[] = [];

beforeAll(async () => {
  mysql = await XtrabackupLab.create(isStandIn ? { version: '2.4.29' } : {});
  const { server, directory, keyring } = mysql;
  const { optionFile } = mysql.chain;
  await server.query('SET sql_log_bin = 0');
  await server.query(`CREATE USER 'bk'@'localhost' IDENTIFIED BY '${PASSWORD}'`);
  await server.query("GRANT ALL PRIVILEGES ON *.* TO 'bk'@'localhost'");
  await server.query('SET sql_log_bin = 1');
  writeFileSync(optionFile, `[client]\nuser=bk\npassword=${PASSWORD}\n`, { mode: 0o600 });
  secrets.push({ name: 'the password', bytes: Buffer.from(PASSWORD) }, ...masterKeysIn(keyring));

  lab = await LeakLab.create({ directory, cluster, instance, exempt: [optionFile, join(directory, 'keyring')] });
  let watch = await lab.watch(secrets, server.files.dataDirectory);
  await lab.apply({
    engine: 'xtrabackup',
    engineDirectory: mysql.engineThatFirst(lab.recordingLine),
    server: {
      socket: server.files.socket,
      dataDirectory: server.files.dataDirectory,
      optionFile,
      owner: userInfo().username,
    },
    encryption: { mode: 'native-and-sealed' },
    history: { incrementBy: 'uuid' },
    tablespaceEncryption: { kind: 'keyring-file', path: keyring, transition: isStandIn ? 'passphrase' : 'none' },
  });
  await server.stayDirty();
  await lab.redoubt('backup', cluster, '--wait');
  await mysql.addRows('enc', 100);
  await mysql.rotate();
  // Nobody but the agent has seen the chain's keys so far: what the full left of them is found in the end.
  const keys = await lab.keysOf((await lab.manifests())[0]);
  const transition = keys['transition-key'];
  for (const [name, bytes] of Object.entries(keys)) secrets.push({ name, bytes });
  if (transition !== undefined)
    secrets.push({ name: 'the passphrase', bytes: Buffer.from(transition.toString('base64url')) });
  secrets.push(...masterKeysIn(keyring));
  sampled.push(await watch.end());
  watch = await lab.watch(secrets, server.files.dataDirectory);
  await lab.redoubt('backup', cluster, '--wait');
  const restored = join(directory, 'restored');
  await lab.redoubt(...`restore ${cluster} --to latest --directory ${restored} --wait`.split(' '));
  sampled.push(await watch.end());
  // The restore made one more.
  secrets.push(...masterKeysIn(keyring));
}, 240_000);

afterAll(async () => {
  await lab?.close();
  await mysql?.close();
});

describe('backups and a restore of a MySQL with every kind of key, from the command line to the bucket', () => {
  let shown: readonly Place[];
  let opened: readonly Place[];

  beforeAll(async () => {
    shown = await lab.shown();
    opened = await lab.opened();
  });

  it('have happened, with keys that can be looked for', async () => {
    const manifests = await lab.manifests();
    expect(manifests.map(({ kind, stream }) => [kind, stream.encryption])).toEqual([
      ['full', 'native-and-sealed'],
      ['incremental', 'native-and-sealed'],
    ]);
    expect(manifests.map(({ keyring }) => keyring?.keyIds.length)).toEqual([1, 2]);
    expect(readdirSync(join(mysql.directory, 'restored'))).toContain('app');
    const names = new Set(secrets.map(({ name }) => name));
    for (const name of ['backup-data', 'engine-key', ...(isStandIn ? ['transition-key', 'the passphrase'] : [])])
      expect(names).toContain(name);
    for (const word of ['--backup', '--prepare', '--encrypt-key-file'])
      expect(lab.records().join('\n'), word).toContain(word);
    for (const { bytes } of secrets) expect(bytes.length).toBeGreaterThan(20);
  });

  it('tell no process a secret', () => {
    for (const sample of sampled) expect(toldToProcesses(sample, secrets)).toEqual([]);
  });

  it('let no engine write a core file', () => {
    const started = lab.records().filter((text) => /^--(backup|prepare)$/m.test(text));
    expect(started.length).toBeGreaterThanOrEqual(4);
    for (const text of started) expect(text).toMatch(/^Max core file size\s+0\s+0\s/m);
  });

  it('leave none in any file, not even for a while', () => {
    for (const { inFiles } of sampled) expect(inFiles).toEqual([]);
  });

  it('leave none in bucket, catalog, histories, commands, logs, on the host or in the restored directory', () => {
    expect(lab.inFiles(secrets)).toEqual([]);
    expect(inPlaces(shown, secrets)).toEqual([]);
  });

  it('leave none in what the engine says of itself, inside of the seal and of its own encryption', () => {
    const infos = opened.filter(({ name }) => /^xtrabackup_info of (full|incremental)$/.test(name));
    expect(infos).toHaveLength(2);
    for (const { content } of infos) expect(content.toString()).toMatch(/tool_command = .*--backup.*--encrypt=/);
    expect(opened.map(({ name }) => name)).toContain('engine log of incremental');
    expect(inPlaces(opened, secrets)).toEqual([]);
  });

  it('leave none in the history that the engine keeps in the server', async () => {
    const rows = await mysql.server.query('SELECT * FROM PERCONA_SCHEMA.xtrabackup_history');
    expect(rows.map(({ tool_command }) => tool_command)).toEqual(
      Array(2).fill(expect.stringMatching(/--backup.*--encrypt=/)),
    );
    expect(inPlaces([{ name: 'history of the server', content: Buffer.from(JSON.stringify(rows)) }], secrets)).toEqual(
      [],
    );
  });

  it('leave nothing on tmpfs', () => {
    const left = readdirSync('/dev/shm').filter((name) => name.startsWith('redoubt-'));
    expect(
      searchFiles(
        left.flatMap((name) => filesBelow(join('/dev/shm', name))),
        needlesOf(secrets),
      ),
    ).toEqual([]);
  });

  it('show the tokens of a run to the host alone', async () => {
    expect(await lab.strayTokens(shown)).toEqual([]);
  });

  it('left the keys where they belong, where the search finds them', () => {
    const { keyring, chain } = mysql;
    const found = searchFiles([keyring, chain.optionFile], needlesOf(secrets));
    for (const path of [keyring, chain.optionFile])
      expect(found).toContainEqual(expect.stringMatching(`^${path}: .*, raw$`));
  });
});

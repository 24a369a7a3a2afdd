import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import { fetchEscrow } from '#agent/keyring/fetch-escrow.ts';
import { KeyringFingerprint } from '#agent/keyring/keyring-fingerprint.ts';
import type { BackupAnswer, BackupInstruction, RestoreAnswer, RestoreInstruction } from '#core/agent-protocol.ts';
import type { Encryption } from '#core/cluster-config.ts';
import { type ErrorCode, RedoubtError } from '#core/errors.ts';
import { type Manifest, manifestObjects } from '#core/manifest.ts';
import { type BackupAddress, backupPrefix, manifestKey } from '#core/object-keys.ts';
import type { Transition } from '#core/tablespace-encryption.ts';
import { FileRepository } from '#test/doubles/file-repository.ts';
import { sampleCluster } from '#test/doubles/sample-manifest.ts';
import type { Answering, DatabaseUnderTest } from './database-under-test.ts';
import { RedoubtUnderTest, type RestoreEnd } from './redoubt-under-test.ts';
import { type AgentSurroundings, type KilledAgent, openTestKey, runAgent, runKilledAgent } from './run-agent.ts';
import type { Step } from './step.ts';

type StepOf<Kind extends Step['kind']> = Extract<Step, { kind: Kind }>;
type Fault = StepOf<'faulty-backup'>['fault'];

/** A backup, and what the server was when it was taken. */
interface Taken {
  readonly manifest: Manifest;
  readonly content: string;
  /** How many rows the busy table may have. */
  readonly busy: { readonly from: number; readonly to: number };
  /** The last canaries of earlier backups. */
  readonly canaries: ReadonlySet<string>;
  readonly identity: number;
  readonly keys: readonly string[];
  readonly mode: Encryption['mode'];
  readonly transition: Transition;
}

/** What is seen before a backup. */
interface Observed {
  readonly kind: 'full' | 'incremental';
  readonly content: string;
  readonly busy: { readonly from: number };
  readonly keys: readonly string[];
}

interface Snapshot {
  readonly directory: string;
  readonly canaries: ReadonlySet<string>;
  readonly identity: number;
}

const TABLES = ['plain', 'enc', 't2', 't3'] as const;
const MAX_INCREMENTS = 4;
/** A statement about a table that is, or is not, there. */
const TOLERATED: ReadonlySet<unknown> = new Set(['ER_NO_SUCH_TABLE', 'ER_TABLE_EXISTS_ERROR', 'ER_BAD_TABLE_ERROR']);

/** The names a fault may have; where a backup may come off in spite of it, it must be a good one. */
const FAULTS: Readonly<Record<Fault, { readonly codes: readonly ErrorCode[]; readonly mayComeOff: boolean }>> = {
  'agent-killed': { codes: [], mayComeOff: true },
  'engine-killed': { codes: ['EngineFailed', 'StreamIncomplete'], mayComeOff: false },
  'server-killed': {
    codes: ['EngineFailed', 'StreamIncomplete', 'ServerUnreachable', 'ServerRestarted', 'EngineLostData'],
    mayComeOff: false,
  },
  'repository-fails': { codes: ['UploadFailed'], mayComeOff: true },
  'keyring-rotated': { codes: ['KeyringRotated'], mayComeOff: false },
};
/** The engine leaves out an encrypted table whose first page is not on the disk yet (recorded: 99a): no backup until it is. */
const UNWRITTEN: ErrorCode = 'TablespaceUnwritten';
const TAMPERED: readonly ErrorCode[] = ['ObjectTampered', 'ObjectMissing', 'ManifestInvalid'];

/** Definitions and rows of every table but the busy one. */
const contentOf = async (server: Answering): Promise<string> => {
  const tables = (await server.query('SHOW TABLES FROM app')).map((row) => String(Object.values(row)[0])).sort();
  const content: unknown[] = [];
  for (const table of tables.filter((one) => one !== 'busy')) {
    const [definition] = await server.query(`SHOW CREATE TABLE app.${table}`);
    const rows = await server.query(`SELECT * FROM app.${table} ORDER BY id`);
    content.push([
      table,
      String(Object.values(definition ?? {})[1]).replace(/ AUTO_INCREMENT=\d+/, ''),
      ...rows.map((row) => Object.values(row).join(' ')),
    ]);
  }
  return JSON.stringify(content, undefined, 1);
};

const busyRows = async (server: Answering): Promise<number> => {
  const [row] = await server.query('SELECT COUNT(*) AS n, MAX(id) AS newest FROM app.busy');
  // They are written one after the other, so what is there is a beginning.
  expect(Number(row?.newest ?? 0)).toBe(Number(row?.n));
  return Number(row?.n);
};

/**
 * A server, its Redoubt and a model of both. The model knows what the server held when each backup was taken, and whether a
 * backup's server is still the same in the same history; with that it says what every backup and every restore must come to.
 */
export class History {
  readonly #database: DatabaseUnderTest;
  readonly #redoubt: RedoubtUnderTest;
  readonly #scratch: string;
  #taken: Taken[] = [];
  #canaries = new Set<string>();
  /** Another number for each server that can be told from the others. */
  #identity = 0;
  #identities = 0;
  #snapshot: Snapshot | undefined;
  #harmed: { readonly key: string; readonly of: Taken; readonly body: Buffer } | undefined;
  /** An execution ended without its last step: what it left is there until the next one. */
  #abandoned = false;
  #count = 0;

  private constructor(database: DatabaseUnderTest, redoubt: RedoubtUnderTest) {
    this.#database = database;
    this.#redoubt = redoubt;
    this.#scratch = join(database.directory, 'engine-scratch');
    mkdirSync(this.#scratch);
  }

  /** Plays `steps` on a new server, and then restores the newest backup and one in the middle. Throws where a promise is broken. */
  static async play(database: DatabaseUnderTest, steps: readonly Step[]): Promise<void> {
    const config = sampleCluster({
      ...database.config,
      policy: { maxIncrements: MAX_INCREMENTS, maxIncrementsRatio: 100, fullEveryDays: 300 },
      limits: { compressionLevel: 1, prepareMemory: 64 * 1024 * 1024 },
    });
    const repository = new FileRepository(join(database.directory, 'bucket'));
    const history = new History(database, await RedoubtUnderTest.create(repository, config));
    await history.#fill();
    await history.#backUp('auto');
    for (const step of steps) await history.#take(step);
    await history.#backUp('auto');
    history.#heal();
    await history.#restoreAndLook(history.#taken.at(-1) as Taken, 'gone');
    await history.#restoreAndLook(history.#taken[history.#taken.length >> 1] as Taken, 'now');
  }

  async #take(step: Step): Promise<void> {
    const database = this.#database;
    switch (step.kind) {
      case 'rows':
        return this.#changeRows(step);
      case 'create':
        return this.#tolerantly(
          `CREATE TABLE app.${nameOf(step.table)} (id INT AUTO_INCREMENT PRIMARY KEY, k INT NOT NULL, payload VARCHAR(400)) ${database.createOptions(step)}`,
        );
      case 'alter':
        return this.#alter(step);
      case 'server':
        return this.#serverDoes(step.does);
      case 'rotate':
        return database.rotate();
      case 'prune-keyring':
        return database.pruneKeyring();
      case 'configure':
        return this.#configure(step);
      case 'backup':
        return this.#backUp(step.requested, step.meanwhile);
      case 'faulty-backup':
        return this.#backUpWithFault(step);
      case 'restore':
        return this.#restoreAndLook(this.#newest(step.backup), step.keyring, step.killedAfter);
      case 'restore-in-place':
        return this.#restoreInPlace(this.#newest(step.backup));
      case 'tamper':
        return this.#tamper(step);
      case 'snapshot':
        return this.#takeSnapshot();
      case 'roll-back':
        return this.#rollBack();
      case 'rebuild':
        await database.rebuild();
        this.#canaries = new Set();
        this.#newIdentity();
        return this.#fill();
      case 'lose-catalog':
        this.#heal();
        await this.#redoubt.loseCatalog();
        // It is the next backup that finds the manifests.
        return this.#backUp('auto');
    }
  }

  // -- the server

  async #fill(): Promise<void> {
    const database = this.#database;
    await database.query('CREATE DATABASE IF NOT EXISTS app');
    await database.query('CREATE TABLE IF NOT EXISTS app.busy (id INT PRIMARY KEY)');
    for (const [table, encrypted] of [
      ['plain', false],
      ['enc', true],
    ] as const) {
      await database.query(
        `CREATE TABLE IF NOT EXISTS app.${table} (id INT AUTO_INCREMENT PRIMARY KEY, k INT NOT NULL, payload VARCHAR(400)) ${database.createOptions({ encrypted, partitioned: false })}`,
      );
      await this.#insert(table, 100);
    }
  }

  #insert(table: string, rows: number): Promise<void> {
    this.#count += 1;
    const values = Array.from({ length: rows }, (_, k) => `(${k}, '${this.#payload(k)}')`);
    return this.#tolerantly(`INSERT INTO app.${table} (k, payload) VALUES ${values.join(',')}`);
  }

  /** The same in every play of a history. */
  #payload(index: number): string {
    return createHash('sha256').update(`${this.#count} ${index}`).digest('hex');
  }

  async #tolerantly(sql: string): Promise<void> {
    try {
      await this.#database.query(sql);
    } catch (error) {
      if (!TOLERATED.has((error as { readonly code?: string }).code)) throw error;
    }
  }

  async #changeRows({ change, table, rows }: StepOf<'rows'>): Promise<void> {
    const name = nameOf(table);
    switch (change) {
      case 'insert':
        return this.#insert(name, rows);
      case 'update':
        this.#count += 1;
        return this.#tolerantly(
          `UPDATE app.${name} SET k = k + 1, payload = '${this.#payload(0)}' WHERE id % 3 = ${rows % 3}`,
        );
      case 'delete':
        return this.#tolerantly(`DELETE FROM app.${name} WHERE id % 4 = ${rows % 4}`);
      case 'truncate':
        return this.#tolerantly(`TRUNCATE TABLE app.${name}`);
    }
  }

  async #alter({ change, table, to }: StepOf<'alter'>): Promise<void> {
    const name = nameOf(table);
    switch (change) {
      case 'drop':
        return this.#tolerantly(`DROP TABLE app.${name}`);
      case 'add-column':
        this.#count += 1;
        return this.#tolerantly(`ALTER TABLE app.${name} ADD COLUMN c${this.#count} INT NOT NULL DEFAULT ${table}`);
      case 'encrypt':
      case 'decrypt':
        return this.#tolerantly(`ALTER TABLE app.${name} ${this.#database.alterOptions(change === 'encrypt')}`);
      case 'rename':
        return table === to ? undefined : this.#tolerantly(`RENAME TABLE app.${name} TO app.${nameOf(to)}`);
    }
  }

  async #serverDoes(what: StepOf<'server'>['does']): Promise<void> {
    const database = this.#database;
    switch (what) {
      case 'flush':
        return database.flush();
      case 'stay-dirty':
        return database.stayDirty();
      case 'restart':
        await database.stop();
        return database.start();
      case 'crash':
        await database.kill();
        return database.start();
    }
  }

  #newIdentity(): void {
    if (!this.#database.hasOwnIdentity) return;
    this.#identities += 1;
    this.#identity = this.#identities;
  }

  async #takeSnapshot(): Promise<void> {
    const { config, keyringFile } = this.#database;
    await this.#database.stop();
    const directory = this.#fresh('snapshot');
    cpSync(config.server.dataDirectory, join(directory, 'data'), { recursive: true });
    cpSync(keyringFile, join(directory, 'keyring'));
    this.#snapshot = { directory, canaries: new Set(this.#canaries), identity: this.#identity };
    await this.#database.start();
  }

  /** Data and keyring become what they were, and nothing tells the server. */
  async #rollBack(): Promise<void> {
    const snapshot = this.#snapshot;
    if (snapshot === undefined) return;
    const copy = this.#fresh('rolled-back');
    cpSync(snapshot.directory, copy, { recursive: true });
    await this.#replaceData(join(copy, 'data'), join(copy, 'keyring'));
    this.#canaries = new Set(snapshot.canaries);
    this.#identity = snapshot.identity;
  }

  async #replaceData(directory: string, keyring: string | undefined): Promise<void> {
    const { config, keyringFile } = this.#database;
    await this.#database.stop();
    rmSync(config.server.dataDirectory, { recursive: true });
    renameSync(directory, config.server.dataDirectory);
    if (keyring !== undefined) cpSync(keyring, keyringFile);
    this.#database.adoptDirectory();
    await this.#database.start();
  }

  // -- backups

  async #configure({ mode, transition }: StepOf<'configure'>): Promise<void> {
    const { modes, transitions } = this.#database;
    const { config } = this.#redoubt;
    const { tablespaceEncryption } = config;
    await this.#redoubt.configure({
      ...config,
      encryption: { ...config.encryption, mode: modes[mode % modes.length] as Encryption['mode'] },
      ...(tablespaceEncryption !== undefined &&
        'transition' in tablespaceEncryption && {
          tablespaceEncryption: {
            ...tablespaceEncryption,
            transition: transitions[transition % transitions.length] as Transition,
          },
        }),
    });
  }

  get #mode(): Encryption['mode'] {
    return this.#redoubt.config.encryption.mode;
  }

  get #transition(): Transition {
    const { tablespaceEncryption } = this.#redoubt.config;
    return tablespaceEncryption !== undefined && 'transition' in tablespaceEncryption
      ? tablespaceEncryption.transition
      : 'none';
  }

  /** What the next backup must be: an increment wherever it can be one, and nowhere else. */
  #expectedKind(requested: StepOf<'backup'>['requested']): 'full' | 'incremental' {
    const tip = this.#taken.at(-1);
    if (requested === 'full' || tip === undefined) return 'full';
    if (requested === 'auto' && tip.manifest.seq >= MAX_INCREMENTS) return 'full';
    if (tip.mode !== this.#mode || tip.transition !== this.#transition) return 'full';
    const held = new Set(this.#database.keys());
    const descends =
      this.#canaries.has(tip.manifest.backup) &&
      tip.identity === this.#identity &&
      tip.keys.every((key) => held.has(key));
    return descends ? 'incremental' : 'full';
  }

  async #backUp(
    requested: StepOf<'backup'>['requested'],
    meanwhile: StepOf<'backup'>['meanwhile'] = 'nothing',
  ): Promise<void> {
    const before = await this.#observe(requested);
    const snapshot = meanwhile === 'snapshot' ? this.#snapshotWithin() : undefined;
    let writing = meanwhile === 'rows';
    const writer = (async () => {
      for (let id = before.busy.from + 1; writing; id++) {
        await this.#database.query(`INSERT INTO app.busy VALUES (${id})`);
        await sleep(5);
      }
    })();
    const take = () =>
      this.#redoubt.backUp(
        requested,
        (instruction) =>
          this.#agent({
            ...instruction,
            ...(snapshot && { engineDirectory: this.#database.engineThat(snapshot.script) }),
          }) as Promise<BackupAnswer>,
      );
    const takeFlushed = async () => {
      const ended = await take();
      if (ended.kind !== 'failed' || ended.error.code !== UNWRITTEN) return ended;
      await this.#database.flush();
      return await take();
    };
    const ended = await takeFlushed().finally(() => {
      writing = false;
      return writer;
    });
    if (ended.kind !== 'taken') throw ended.kind === 'failed' ? ended.error : new Error(ended.kind);
    // What was written after the snapshot, the engine has seen.
    const content = snapshot === undefined ? before.content : await contentOf(this.#database);
    await this.#took(ended.manifest, { ...before, content });
    if (snapshot !== undefined) this.#snapshot = snapshot;
    this.#abandoned = false;
    await this.#checkWhatIsLeft();
  }

  /** Of the disk of a server that runs, in one moment; the pages written after it have an LSN that the server will have again once it is rolled back. */
  #snapshotWithin(): Snapshot & { readonly script: string } {
    const { config, keyringFile, pid } = this.#database;
    const directory = this.#fresh('snapshot');
    mkdirSync(directory);
    cpSync(keyringFile, join(directory, 'keyring'));
    this.#count += 1;
    const later = [
      `UPDATE app.plain SET payload = '${this.#payload(0)}'`,
      'SET GLOBAL innodb_max_dirty_pages_pct = 0',
    ].map((sql) => this.#database.clientCommand(sql));
    return {
      script: `kill -STOP ${pid}; rm -rf '${directory}/data'; cp -a '${config.server.dataDirectory}' '${directory}/data'; kill -CONT ${pid}
${later.join(' 2>/dev/null\n')}; sleep 0.3; exec "$PROGRAM" "$@"`,
      directory,
      canaries: new Set(this.#canaries),
      identity: this.#identity,
    };
  }

  async #backUpWithFault({ fault, after, settled }: StepOf<'faulty-backup'>): Promise<void> {
    const before = await this.#observe('auto');
    const ended = await this.#redoubt.backUp('auto', this.#agentWith(fault, after), settled);
    if (fault === 'server-killed') {
      await this.#database.kill();
      await this.#database.start();
    }
    if (fault === 'keyring-rotated') await this.#serverDoes('restart');
    const { codes, mayComeOff } = FAULTS[fault];
    switch (ended.kind) {
      case 'taken':
        expect(mayComeOff, `a backup came off although ${fault}`).toBe(true);
        await this.#took(ended.manifest, before);
        break;
      case 'failed':
        if (!codes.includes(ended.error.code) && ended.error.code !== UNWRITTEN) throw ended.error;
        break;
      case 'killed':
        await this.#untilNothingIsLeftOf(ended.pid);
        if (this.#redoubt.isCommitted(ended.address)) await this.#took(this.#redoubt.manifestAt(ended.address), before);
    }
    this.#abandoned = ended.kind !== 'taken' && !settled;
    await this.#checkWhatIsLeft();
  }

  async #observe(requested: StepOf<'backup'>['requested']): Promise<Observed> {
    return {
      kind: this.#expectedKind(requested),
      content: await contentOf(this.#database),
      busy: { from: await busyRows(this.#database) },
      keys: this.#database.keys(),
    };
  }

  async #took(manifest: Manifest, before: Observed): Promise<void> {
    expect(manifest.kind, manifest.reason).toBe(before.kind);
    const canaries = new Set(this.#canaries);
    this.#canaries.add(manifest.backup);
    this.#taken.push({
      manifest,
      content: before.content,
      busy: { from: before.busy.from, to: await busyRows(this.#database) },
      canaries,
      identity: this.#identity,
      keys: before.keys,
      mode: this.#mode,
      transition: this.#transition,
    });
  }

  #surroundings(changes: Partial<AgentSurroundings> = {}): AgentSurroundings {
    return {
      repository: this.#redoubt.repository,
      scratch: this.#scratch,
      now: this.#redoubt.clock.now(),
      ...changes,
    };
  }

  #agent(instruction: BackupInstruction | RestoreInstruction, changes: Partial<AgentSurroundings> = {}) {
    return runAgent(instruction, this.#surroundings(changes));
  }

  #agentWith(fault: Fault, after: number): (instruction: BackupInstruction) => Promise<BackupAnswer | KilledAgent> {
    const usual = this.#taken.at(-1)?.manifest.stream.bytes ?? 0;
    const bytes = Math.floor((usual * after) / 16);
    const withEngine = (script: string) => (instruction: BackupInstruction) =>
      this.#agent({ ...instruction, engineDirectory: this.#database.engineThat(script) }) as Promise<BackupAnswer>;
    switch (fault) {
      case 'agent-killed':
        return (instruction) =>
          runKilledAgent(instruction, this.#surroundings(), after) as Promise<BackupAnswer | KilledAgent>;
      case 'engine-killed':
        return withEngine(`"$PROGRAM" "$@" | head -c ${bytes}; kill -9 $$`);
      case 'server-killed':
        return withEngine(
          `{ "$PROGRAM" "$@"; echo $? >"$0.status"; } | { head -c ${bytes}; kill -9 ${this.#database.pid}; cat; }; exit "$(cat "$0.status")"`,
        );
      case 'repository-fails': {
        let left = after;
        const repository = new FileRepository(this.#redoubt.repository.directory, (operation, key) => {
          left -= 1;
          if (left < 0) throw new RedoubtError('UploadFailed', `${operation} ${key}`);
        });
        return (instruction) => this.#agent(instruction, { repository }) as Promise<BackupAnswer>;
      }
      case 'keyring-rotated':
        return withEngine(`${this.#database.rotateCommand()}; exec "$PROGRAM" "$@"`);
    }
  }

  /** The engine dies with its agent, and so do secrets; both only see that they are alone. */
  async #untilNothingIsLeftOf(pid: number): Promise<void> {
    await expect.poll(() => secretsOf(pid), { timeout: 10_000 }).toEqual([]);
  }

  /** INV-7: whatever happened, only whole backups are backups, and nothing else is left. */
  async #checkWhatIsLeft(): Promise<void> {
    const redoubt = this.#redoubt;
    const manifests = this.#taken.map(({ manifest }) => manifestKey(manifest)).sort();
    expect(secretsOf(process.pid)).toEqual([]);
    expect(redoubt.manifestKeys()).toEqual(manifests);
    if (this.#abandoned) return;
    const prefixes = this.#taken.map(({ manifest }) => backupPrefix(manifest));
    expect(redoubt.objectKeys().filter((key) => !prefixes.some((prefix) => key.startsWith(prefix)))).toEqual([]);
    expect(redoubt.repository.uploads()).toEqual([]);
    expect(await redoubt.recorded()).toEqual(manifests);
    expect([await redoubt.leaseHeld(), redoubt.keys.grants.size]).toEqual([false, 0]);
  }

  // -- restores

  #newest(index: number): Taken {
    return this.#taken.at(-1 - (index % this.#taken.length)) as Taken;
  }

  #isHarmed({ manifest }: Taken): boolean {
    const harmed = this.#harmed?.of.manifest;
    return harmed !== undefined && harmed.chain === manifest.chain && harmed.seq <= manifest.seq;
  }

  /** Whether the keyring of the server, as it is now, opens the backup. */
  #fits({ keys }: Taken): boolean {
    const held = new Set(this.#database.keys());
    return keys.every((key) => held.has(key));
  }

  async #restoreAndLook(taken: Taken, keyring: 'now' | 'gone', killedAfter?: number): Promise<void> {
    const restored = await this.#restore(taken, keyring, killedAfter);
    if (restored === undefined) return;
    await this.#look(taken, restored);
    rmSync(restored.directory, { recursive: true });
  }

  /** The directory, and the keyring a server needs on it; `undefined` where it was refused, as it had to be. */
  async #restore(
    taken: Taken,
    keyring: 'now' | 'gone',
    killedAfter: number | undefined,
  ): Promise<{ readonly directory: string; readonly keyring: string } | undefined> {
    const { manifest } = taken;
    const directory = this.#fresh('restored');
    const newKeyring = this.#fresh('keyring');
    const lines: string[] = [];
    const elsewhere = (instruction: RestoreInstruction): RestoreInstruction => {
      const { tablespaceEncryption: config } = instruction;
      if (config === undefined || !('path' in config) || !('transition' in config)) return instruction;
      // A new master key goes into the keyring that is named: one of another server.
      const path = taken.transition === 'none' ? config.path : newKeyring;
      return { ...instruction, tablespaceEncryption: { ...config, path, transition: taken.transition } };
    };
    const ask =
      (killed: number | undefined) =>
      (instruction: RestoreInstruction): Promise<RestoreAnswer | KilledAgent> =>
        (killed === undefined
          ? this.#agent(elsewhere(instruction), { log: (line) => void lines.push(line) })
          : runKilledAgent(elsewhere(instruction), this.#surroundings(), killed)) as Promise<RestoreAnswer>;
    const ended = await this.#withKeyring(keyring, async (): Promise<RestoreEnd> => {
      const first = await this.#redoubt.restore(manifest.backup, directory, ask(killedAfter));
      if (first.kind !== 'killed') return first;
      await this.#untilNothingIsLeftOf(first.pid);
      // The directory was handed over, and only its staging directory, or the answer, was lost.
      if (existsSync(directory)) rmSync(directory, { recursive: true });
      return await this.#redoubt.restore(manifest.backup, directory, ask(undefined));
    });
    expect(secretsOf(process.pid)).toEqual([]);
    if (ended.kind === 'failed') {
      if (!this.#isHarmed(taken) || !TAMPERED.includes(ended.error.code)) throw ended.error;
      expect(existsSync(directory)).toBe(false);
      return undefined;
    }
    if (this.#isHarmed(taken)) expect(this.#harmed?.key).toMatch(/engine-log|manifest/);
    if (taken.transition !== 'none') return { directory, keyring: newKeyring };
    if (killedAfter === undefined)
      expect(lines.some((line) => line.includes('A server on this directory needs'))).toBe(
        keyring === 'gone' || !this.#fits(taken),
      );
    if (keyring === 'now' && this.#fits(taken)) cpSync(this.#database.keyringFile, newKeyring);
    else writeFileSync(newKeyring, await this.#escrowOf(manifest));
    return { directory, keyring: newKeyring };
  }

  async #withKeyring<T>(keyring: 'now' | 'gone', action: () => Promise<T>): Promise<T> {
    if (keyring === 'now') return action();
    const { keyringFile } = this.#database;
    renameSync(keyringFile, `${keyringFile}.away`);
    try {
      return await action();
    } finally {
      renameSync(`${keyringFile}.away`, keyringFile);
    }
  }

  async #escrowOf(manifest: Manifest): Promise<Buffer> {
    if ('shredded' in manifest.keys) throw new Error('shredded');
    const key = await openTestKey(manifest.keys.data);
    const fingerprint = new KeyringFingerprint(key.bytes);
    const { signal } = new AbortController();
    const escrow = await fetchEscrow(this.#redoubt.repository, manifest, key.bytes, fingerprint, signal);
    return escrow?.files[0]?.content ?? Buffer.alloc(0);
  }

  async #look(taken: Taken, { directory, keyring }: { readonly directory: string; readonly keyring: string }) {
    const { manifest, content, busy } = taken;
    await this.#database.lookAt(directory, keyring, async (server) => {
      expect(await contentOf(server)).toBe(content);
      const rows = await busyRows(server);
      expect(rows).toBeGreaterThanOrEqual(busy.from);
      expect(rows).toBeLessThanOrEqual(busy.to);
      expect(await server.query(`SELECT backup FROM redoubt.canary WHERE backup = '${manifest.backup}'`)).toHaveLength(
        1,
      );
    });
  }

  /** As an operator does it who has a prepared directory. */
  async #restoreInPlace(taken: Taken): Promise<void> {
    const restored = await this.#restore(taken, 'now', undefined);
    if (restored === undefined) return;
    const keepsKeyring = taken.transition === 'none' && this.#fits(taken);
    await this.#replaceData(restored.directory, keepsKeyring ? undefined : restored.keyring);
    // The backup itself holds only the canary that was written before it.
    this.#canaries = new Set(taken.canaries);
    this.#newIdentity();
    expect(await contentOf(this.#database)).toBe(taken.content);
  }

  /** One object of the repository is not what it was, until it is healed; everything else goes on. */
  async #tamper({ backup, object, harm }: StepOf<'tamper'>): Promise<void> {
    this.#heal();
    const of = this.#newest(backup);
    const { repository } = this.#redoubt;
    const keys = [...manifestObjects(of.manifest).map(({ key }) => key), manifestKey(of.manifest)];
    const key = keys[object % keys.length] as string;
    const body = repository.body(key) as Buffer;
    this.#harmed = { key, of, body };
    const harmed = harmedBody(harm, body, () => this.#sameOf(of.manifest, key));
    if (harmed === undefined) repository.remove(key);
    else repository.put(key, harmed);
    await this.#restoreAndLook(of, 'now');
  }

  /** The object of that name of another backup. */
  #sameOf(at: BackupAddress, key: string): Buffer | undefined {
    const name = key.slice(backupPrefix(at).length);
    const other = this.#taken.find(({ manifest }) => manifest.backup !== at.backup);
    return other && this.#redoubt.repository.body(`${backupPrefix(other.manifest)}${name}`);
  }

  #heal(): void {
    if (this.#harmed !== undefined) this.#redoubt.repository.put(this.#harmed.key, this.#harmed.body);
    this.#harmed = undefined;
  }

  #fresh(name: string): string {
    this.#count += 1;
    return join(this.#database.directory, `${name}-${this.#count}`);
  }
}

const nameOf = (table: number): string => TABLES[table % TABLES.length] as string;

const secretsOf = (pid: number): readonly string[] =>
  readdirSync('/dev/shm').filter((name) => name.startsWith(`redoubt-${pid}-`));

const harmedBody = (
  harm: StepOf<'tamper'>['harm'],
  body: Buffer,
  another: () => Buffer | undefined,
): Buffer | undefined => {
  switch (harm) {
    case 'flip': {
      const spoilt = Buffer.from(body);
      spoilt[body.length >> 1] = (spoilt[body.length >> 1] as number) ^ 1;
      return spoilt;
    }
    case 'cut':
      return body.subarray(0, -1);
    case 'remove':
      return undefined;
    case 'swap':
      return another();
  }
};

import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import type { RunContext } from '#agent/commands/run-context.ts';
import { Inventory } from '#agent/stream/inventory.ts';
import { signManifest } from '#agent/stream/manifest-mac.ts';
import { sealBuffer } from '#agent/stream/seal.ts';
import { sealContextOf } from '#agent/stream/seal-context.ts';
import { storeStream } from '#agent/stream/store-stream.ts';
import { XbstreamReader } from '#agent/stream/xbstream-reader.ts';
import { type RestoreInstruction, restoreInstructionSchema } from '#core/agent-protocol.ts';
import { type Checkpoints, parseCheckpoints } from '#core/checkpoints.ts';
import type { ServerControl } from '#core/cluster-config.ts';
import { type BackupId, chainIdSchema, clusterIdSchema, newBackupId, runIdSchema } from '#core/ids.ts';
import { encodeManifest, type Manifest, manifestDigestInput, type StoredObject } from '#core/manifest.ts';
import { dataKeyOf, engineLogKey, inventoryKey, manifestKey } from '#core/object-keys.ts';
import { type Mariadb, startMariadb } from '#local/mariadb/start-mariadb.ts';
import { MemoryRepository } from '#test/doubles/memory-repository.ts';
import type { ChildSpec } from './restore-child.ts';

const cluster = clusterIdSchema.parse('orders');
const chain = chainIdSchema.parse('20261122T051210Z-3f9a1c');
const MEBIBYTE = 1024 * 1024;

export interface TakenBackup {
  readonly manifest: Manifest;
  readonly key: string;
  readonly sha256: string;
  /** `CHECKSUM TABLE` of every table when it was taken. */
  readonly checksums: Readonly<Record<string, string>>;
}

/** One real server, backups of it as an agent would have stored them, and what a restore of them needs. */
export class RestoreLab {
  readonly directory = mkdtempSync(join(tmpdir(), 'redoubt-restore-'));
  readonly repository = new MemoryRepository();
  readonly dataKey = randomBytes(32);
  readonly taken: TakenBackup[] = [];
  readonly log: string[] = [];
  server!: Mariadb;

  static async create(): Promise<RestoreLab> {
    const lab = new RestoreLab();
    writeFileSync(join(lab.directory, 'client.cnf'), '[client]\nuser=root\n', { mode: 0o600 });
    lab.server = await startMariadb({
      directory: join(lab.directory, 'source'),
      options: ['--log-bin=binlog', '--server-id=1'],
    });
    return lab;
  }

  /** Every base table and its checksum, on whichever server. */
  async checksums(server: Mariadb): Promise<Readonly<Record<string, string>>> {
    const tables = await server.query(
      "SELECT CONCAT('`', table_schema, '`.`', table_name, '`') AS name FROM information_schema.tables WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema')",
    );
    const sums: Record<string, string> = {};
    for (const { name } of tables) {
      const [row] = await server.query(`CHECKSUM TABLE ${String(name)}`);
      sums[String(name)] = String(row?.Checksum);
    }
    return sums;
  }

  /** A full if it is the first, else an increment on the one before: the bare engine, stored with the agent's own stream code. */
  async backup(): Promise<TakenBackup> {
    const seq = this.taken.length;
    const parent = this.taken.at(-1);
    const backup = newBackupId(new Date(Date.UTC(2026, 10, 22, 6, seq)), chain, seq);
    const canary = await this.#plantCanary(backup);
    const checksums = await this.checksums(this.server);
    const scratch = mkdtempSync(join(this.directory, 'scratch-'));
    const engine = spawn(
      'mariadb-backup',
      [
        '--no-defaults',
        '--backup',
        '--stream=xbstream',
        `--socket=${this.server.socket}`,
        '--user=root',
        `--target-dir=${scratch}`,
        `--extra-lsndir=${scratch}`,
        ...(parent === undefined ? [] : [`--incremental-lsn=${parent.manifest.checkpoints.toLsn}`]),
      ],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    let stderr = '';
    engine.stderr.on('data', (text) => (stderr = (stderr + text).slice(-2000)));
    const ended = new Promise<number | null>((resolve) => void engine.once('close', resolve));
    const at = { cluster, chain, seq, backup };
    const context = { cluster, chain, backup };
    const reader = new XbstreamReader();
    const inventory = new Inventory();
    const stored = await storeStream({
      source: engine.stdout,
      repository: this.repository,
      dataKey: this.dataKey,
      keyOf: (index) => dataKeyOf(at, index),
      contextOf: (key) => sealContextOf(context, key),
      compressionLevel: 1,
      compressionThreads: 2,
      signal: new AbortController().signal,
      onBlock: (block) => {
        for (const event of reader.push(block)) inventory.note(event);
      },
      // Small, so that a few megabytes already are several segments of several parts.
      segmentBytes: 8 * MEBIBYTE,
    });
    if ((await ended) !== 0) throw new Error(`mariadb-backup failed:\n${stderr}`);
    const document = inventory.finish();
    const seal = async (key: string, content: string): Promise<StoredObject> =>
      this.repository.create(key, await sealBuffer(Buffer.from(content), this.dataKey, sealContextOf(context, key)));
    const checkpoints = parseCheckpoints(readFileSync(join(scratch, 'xtrabackup_checkpoints'), 'utf8')) as Checkpoints;
    const [variables] = await this.server.query('SELECT @@server_uid AS uuid, @@version AS version');
    const manifest = signManifest(
      {
        format: 'redoubt-manifest',
        version: 1,
        cluster,
        chain,
        backup,
        seq,
        kind: seq === 0 ? 'full' : 'incremental',
        ...(parent === undefined ? {} : { parent: { backup: parent.manifest.backup, manifestSha256: parent.sha256 } }),
        run: runIdSchema.parse('backup-run'),
        fencingToken: 1,
        reason: 'test',
        host: 'i-0123456789abcdef0' as Manifest['host'],
        startedAt: '2026-11-22T06:00:00.000Z',
        endedAt: '2026-11-22T06:00:01.000Z',
        agentVersion: '0.0.0',
        engine: { name: 'mariadb-backup', version: '10.11.0', series: '10.11' },
        server: {
          identity: {
            uuid: String(variables?.uuid),
            dataDirectory: this.server.dataDirectory,
            flavour: 'mariadb',
            series: '10.11',
            pageSize: 16384,
          },
          version: String(variables?.version),
        },
        checkpoints,
        canary,
        keys: { data: this.#wrapped() },
        stream: {
          format: 'xbstream',
          compression: 'zstd',
          encryption: 'sealed',
          bytes: stored.bytes,
          files: document.files.length,
          segmentBytes: stored.segmentBytes,
        },
        segments: stored.segments.map((segment) => segment.object),
        inventory: await seal(inventoryKey(at), JSON.stringify(document)),
        engineLog: await seal(engineLogKey(at), stderr),
        restoredBytes: inventory.bytes,
      },
      this.dataKey,
    );
    const text = encodeManifest(manifest);
    const key = manifestKey(at);
    await this.repository.create(key, Buffer.from(text));
    rmSync(scratch, { recursive: true });
    const taken = {
      manifest,
      key,
      sha256: createHash('sha256').update(manifestDigestInput(text)).digest('hex'),
      checksums,
    };
    this.taken.push(taken);
    return taken;
  }

  instruction(overrides: Partial<RestoreInstruction> & { readonly upTo?: number } = {}): RestoreInstruction {
    const { upTo = this.taken.length - 1, ...rest } = overrides;
    const steps = this.taken.slice(0, upTo + 1).map(({ manifest, key, sha256 }) => ({
      manifestKey: key,
      manifestSha256: sha256,
      backup: manifest.backup,
      seq: manifest.seq,
      toLsn: manifest.checkpoints.toLsn.toString(),
      lastLsn: manifest.checkpoints.lastLsn.toString(),
      bytes: manifest.segments.reduce((sum, segment) => sum + segment.bytes, 0),
      restoredBytes: manifest.restoredBytes,
    }));
    const parsed = restoreInstructionSchema.parse({
      kind: 'restore',
      protocol: 1,
      run: 'restore-run',
      attempt: 1,
      cluster,
      host: 'i-0123456789abcdef0',
      taskToken: 'token',
      heartbeatSeconds: 60,
      chain,
      engine: 'mariadb-backup',
      mode: 'prepare-only',
      directory: join(this.directory, 'restored'),
      server: {
        socket: this.server.socket,
        dataDirectory: this.server.dataDirectory,
        optionFile: join(this.directory, 'client.cnf'),
        owner: 'root',
      },
      limits: {
        parallel: 2,
        compressionLevel: 3,
        compressionThreads: 2,
        prepareMemory: 64 * MEBIBYTE,
      },
      keys: { data: this.#wrapped() },
      steps,
    });
    return { ...parsed, ...rest };
  }

  context(overrides: Partial<RunContext> = {}): RunContext {
    return {
      repository: this.repository,
      openKey: async () => {
        const bytes = Buffer.from(this.dataKey);
        return { bytes, destroy: () => bytes.fill(0) };
      },
      signal: new AbortController().signal,
      progress: {
        phase: () => undefined,
        step: () => undefined,
        add: () => undefined,
        expect: () => undefined,
        seconds: () => ({}),
      },
      log: (line) => void this.log.push(line),
      now: () => new Date(),
      agentVersion: '0.0.0',
      ...overrides,
    };
  }

  /** The same restore in a process of its own, which a test may kill. */
  startChild(instruction: RestoreInstruction, hangOn?: string) {
    const objects = mkdtempSync(join(this.directory, 'objects-'));
    for (const [key, body] of this.repository.objects)
      writeFileSync(join(objects, Buffer.from(key).toString('hex')), body);
    const spec: ChildSpec = {
      instruction: z.encode(restoreInstructionSchema, instruction),
      dataKey: this.dataKey.toString('hex'),
      objects,
      ...(hangOn === undefined ? {} : { hangOn }),
    };
    const file = `${objects}.json`;
    writeFileSync(file, JSON.stringify(spec));
    const child = spawn(process.execPath, [join(import.meta.dirname, 'restore-child.ts'), file], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let said = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (said += text));
    const ended = new Promise<void>((resolve) => void child.once('close', () => resolve()));
    /** Waits for a moment on its way; throws with what it said if it ends before. */
    const reaches = async (moment: () => boolean | Promise<boolean>): Promise<void> => {
      for (let waited = 0; !(await moment()); waited += 20) {
        if (child.exitCode !== null || waited > 60_000) throw new Error(`it did not come to that:\n${said}`);
        await sleep(20);
      }
    };
    return { objects, reaches, kill: () => void child.kill('SIGKILL'), ended };
  }

  /** A `mariadb-backup` that runs `script` first when it is asked to prepare; `$REAL` is the real one. */
  engineWith(script: string): string {
    const directory = mkdtempSync(join(this.directory, 'engine-'));
    writeFileSync(
      join(directory, 'mariadb-backup'),
      `#!/bin/sh\nREAL=/usr/bin/mariadb-backup\nHERE='${directory}'\ncase "$*" in *--prepare*)\n${script}\n;; esac\nexec $REAL "$@"\n`,
      { mode: 0o755 },
    );
    return directory;
  }

  /**
   * The server's own start and stop, as a cluster file would name them. `refuse` is a shell condition on the data directory `$D` under which
   * the server does not start.
   */
  control(refuse = 'false'): Extract<ServerControl, { kind: 'command' }> {
    const { dataDirectory, socket, directory } = this.server;
    const script = join(directory, 'start.sh');
    const pidFile = join(directory, 'controlled.pid');
    writeFileSync(
      script,
      `#!/bin/sh\nD='${dataDirectory}'\nif ${refuse}; then echo 'the server refuses to start' >&2; exit 3; fi\n` +
        `mariadbd --no-defaults --user=root --datadir="$D" --socket='${socket}' --pid-file='${pidFile}' --log-error='${join(directory, 'controlled.log')}' --skip-networking --innodb-buffer-pool-size=64M --log-bin=binlog --server-id=1 </dev/null >/dev/null 2>&1 &\n`,
      { mode: 0o755 },
    );
    return {
      kind: 'command',
      start: [script],
      stop: ['/bin/sh', '-c', `kill $(cat '${pidFile}' '${join(directory, 'mysqld.pid')}' 2>/dev/null)`],
    };
  }

  /** A second server on a restored directory. */
  async startOn(dataDirectory: string): Promise<Mariadb> {
    return startMariadb({ directory: mkdtempSync(join(this.directory, 'second-')), dataDirectory });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server.stop();
    rmSync(this.directory, { recursive: true, force: true });
  }

  async #plantCanary(backup: BackupId): Promise<{ backup: BackupId; writtenAt: string }> {
    const writtenAt = '2026-11-22T06:00:00.000Z';
    await this.server.query('CREATE DATABASE IF NOT EXISTS redoubt');
    await this.server.query(
      'CREATE TABLE IF NOT EXISTS redoubt.canary (backup VARCHAR(64) PRIMARY KEY, written_at VARCHAR(32)) ENGINE=InnoDB',
    );
    await this.server.query('INSERT INTO redoubt.canary VALUES (?, ?)', [backup, writtenAt]);
    return { backup, writtenAt };
  }

  #wrapped() {
    return {
      kmsKey: 'arn:aws:kms:us-east-1:000000000000:key/1',
      ciphertext: 'AAAA',
      context: { cluster, chain, purpose: 'backup-data' as const },
    };
  }
}

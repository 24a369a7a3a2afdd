import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import type { BackupServer } from '#agent/commands/backup-server.ts';
import type { RunContext } from '#agent/commands/run-context.ts';
import type { Engine, EngineCommand } from '#agent/engines/engine.ts';
import { mariadbBackup } from '#agent/engines/mariadb-backup.ts';
import type { ServerFacts } from '#agent/server/server-facts.ts';
import { type BackupInstruction, backupInstructionSchema } from '#core/agent-protocol.ts';
import { type Lsn, lsn } from '#core/lsn.ts';
import type { Canary } from '#core/manifest.ts';
import { MemoryRepository } from '#test/doubles/memory-repository.ts';

export const now = new Date('2026-11-22T05:12:10.000Z');

export const identity = {
  uuid: 'b6b1a5c2',
  dataDirectory: '/tmp',
  flavour: 'mariadb',
  series: '10.11',
  pageSize: 16384,
} as const;

export const facts: ServerFacts = {
  identity,
  version: '10.11.19-MariaDB',
  startedAt: 1_795_000_000,
  pid: 4711,
  lsn: lsn(1950n),
  gtid: '0-1-50',
  readOnly: false,
  tablespaces: [
    { name: 'app/t', path: 'app/t.ibd', spaceId: 7, encrypted: false },
    { name: 'app/u', path: 'app/u.ibd', spaceId: 8, encrypted: false },
  ],
  dataBytes: 1_000_000,
  variables: {},
};

export const instruction = (changes: object = {}): BackupInstruction =>
  backupInstructionSchema.parse({
    kind: 'backup',
    protocol: 1,
    run: 'run-1',
    attempt: 1,
    cluster: 'orders',
    host: 'i-0123456789abcdef0',
    taskToken: 'token',
    heartbeatSeconds: 30,
    chain: '20261122T051210Z-3f9a1c',
    backup: '20261122T051210Z-f0000-3f9a1c',
    seq: 0,
    reason: 'there is no chain yet',
    fencingToken: 3,
    engine: 'mariadb-backup',
    server: { socket: '/run/mysqld/mysqld.sock', dataDirectory: '/tmp', optionFile: '/etc/redoubt.cnf' },
    limits: {},
    encryption: {},
    keys: {
      data: {
        kmsKey: 'arn:aws:kms:us-east-1:000000000000:key/1',
        ciphertext: 'd3JhcHBlZA==',
        context: { cluster: 'orders', chain: '20261122T051210Z-3f9a1c', purpose: 'backup-data' },
      },
    },
    expectedBytes: 0,
    ...changes,
  });

export const parent = {
  backup: '20261122T051210Z-f0000-3f9a1c',
  seq: 0,
  toLsn: '1500',
  identity,
  manifestSha256: 'a'.repeat(64),
  canary: { backup: '20261122T051210Z-f0000-3f9a1c', writtenAt: '2026-11-22T04:00:00.000Z' },
  gtid: '0-1-40',
  engineSeries: '10.11',
};

export const increment = (changes: object = {}): BackupInstruction =>
  instruction({ backup: '20261122T061210Z-i0001-3f9a1c', seq: 1, parent, ...changes });

const checkpoints = (type: string, from: number, to: number, last: number): string =>
  `backup_type = ${type}\nfrom_lsn = ${from}\nto_lsn = ${to}\nlast_lsn = ${last}\n`;

/** What mariadb-backup sends for the server of `facts`, in small. */
export const fullFiles: Readonly<Record<string, string | Buffer>> = {
  ibdata1: randomBytes(100_000),
  'app/t.ibd': Buffer.alloc(200_000, 'table t '),
  'app/u.ibd': Buffer.alloc(50_000, 'table u '),
  'app/t.frm': 'frm',
  ib_logfile0: randomBytes(30_000),
  xtrabackup_binlog_info: 'binlog.000002\t154\t0-1-50\n',
  xtrabackup_checkpoints: checkpoints('full-backuped', 0, 1900, 1990),
  xtrabackup_info: 'uuid = 1\n',
};

export const incrementFiles: Readonly<Record<string, string | Buffer>> = {
  'app/t.ibd.delta': 'xtra',
  'app/t.ibd.meta': 'page_size = 16384\n',
  'app/u.ibd.delta': 'xtra',
  'app/u.ibd.meta': 'page_size = 16384\n',
  xtrabackup_checkpoints: checkpoints('incremental', 1500, 1900, 1990),
  xtrabackup_info: 'uuid = 1\n',
};

export const checkpointsOf = checkpoints;

/** An engine that is a shell script: `script` sees the stream's file as `$STREAM`. */
export const scriptedEngine = (script: string, env: Readonly<Record<string, string>> = {}): Engine => ({
  ...mariadbBackup,
  version: async () => ({ version: '10.11.19', series: '10.11' }),
  checkSuits: () => undefined,
  backupCommand: (_version, request): EngineCommand => ({
    program: '/bin/sh',
    args: ['-c', script],
    env: { ...env, FROM_LSN: String(request.fromLsn), SCRATCH: request.scratchDirectory },
  }),
});

export const okScript = 'cat "$STREAM"; echo "[00] 2026-11-22 05:12:10 completed OK!" >&2';

export interface Lab {
  readonly repository: MemoryRepository;
  readonly context: RunContext;
  readonly server: BackupServer;
  readonly canaries: Map<string, Canary>;
  /** LSNs of the server's backup history: `name nightly`, `uuid 1`. */
  readonly history: Map<string, Lsn>;
  readonly dataKey: Buffer;
  readonly destroyed: () => boolean;
  readonly cancel: (error: Error) => void;
  readonly logged: string[];
}

/** A run's surroundings; `probes` are answered one after the other, the last one again and again. */
export const lab = (probes: readonly ServerFacts[] = [facts]): Lab => {
  const repository = new MemoryRepository();
  const controller = new AbortController();
  const canaries = new Map<string, Canary>();
  const history = new Map<string, Lsn>();
  const dataKey = randomBytes(32);
  const logged: string[] = [];
  let destroyed = false;
  let probed = 0;
  return {
    repository,
    canaries,
    history,
    dataKey,
    logged,
    destroyed: () => destroyed,
    cancel: (error) => controller.abort(error),
    context: {
      repository,
      openKey: async () => ({
        bytes: Buffer.from(dataKey),
        destroy: () => {
          destroyed = true;
        },
      }),
      signal: controller.signal,
      progress: {
        phase: () => undefined,
        step: () => undefined,
        add: () => undefined,
        expect: () => undefined,
        seconds: () => ({ copying: 1 }),
      },
      log: (line) => logged.push(line),
      now: () => now,
      agentVersion: '0.1.0',
    },
    server: {
      credentials: {},
      probe: async () => probes[Math.min(probed++, probes.length - 1)] as ServerFacts,
      checkPrivileges: async () => undefined,
      historyLsn: async (_version, { by, value }) => history.get(`${by} ${value}`),
      canaryOf: async (backup) => canaries.get(backup) ?? 'absent',
      writeCanary: async (canary, { readOnly }) => {
        if (readOnly) return 'read-only';
        canaries.set(canary.backup, canary);
        return 'written';
      },
    },
  };
};

/** Whether any process still runs with `mark` in its environment. */
export const isRunning = (mark: string): boolean => {
  try {
    execFileSync('/bin/sh', ['-c', `grep -qzs "MARK=${mark}" /proc/[0-9]*/environ`], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
};

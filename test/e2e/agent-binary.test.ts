import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { GetObjectCommand, ListObjectsV2Command, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { manifestMacHolds } from '#agent/stream/manifest-mac.ts';
import { backupAnswerSchema, failureSchema } from '#core/agent-protocol.ts';
import { errorKind } from '#core/errors.ts';
import { type Manifest, manifestDigestInput, manifestSchema } from '#core/manifest.ts';
import { Principals } from '#local/cloud/principals.ts';
import { type Router, startRouter } from '#local/cloud/router.ts';
import { type S3, startS3 } from '#local/cloud/s3/start-s3.ts';
import { AwsError, awsJson } from '#local/cloud/service.ts';
import { type Mariadb, startMariadb } from '#local/mariadb/start-mariadb.ts';
import { isRunning } from '#test/agent/commands/backup-lab.ts';

const root = join(import.meta.dirname, '..', '..');
const agent = join(root, 'dist', 'agent', 'linux-x64', 'redoubt-agent');
const BUCKET = 'redoubt-repository';
const PASSWORD = 'correct horse battery staple';

let directory: string;
let server: Mariadb;
let s3: S3;
let router: Router;
let client: S3Client;
const dataKey = randomBytes(32);

/** What the workflow heard, and what it says to heartbeats. */
let heard: { readonly operation: string; readonly input: Readonly<Record<string, string>> }[] = [];
let waiting = true;

const hear = (operation: string) => async (input: Readonly<Record<string, string>>) => {
  heard.push({ operation, input });
  if (!waiting) throw new AwsError('TaskTimedOut', 'nobody waits');
  return {};
};

beforeAll(async () => {
  execFileSync(process.execPath, ['scripts/build-agent.ts'], { cwd: root, stdio: ['ignore', 'ignore', 'pipe'] });
  directory = mkdtempSync(join(tmpdir(), 'redoubt-agent-'));
  server = await startMariadb({ directory: join(directory, 'server') });
  await server.query('CREATE DATABASE app');
  await server.query('CREATE TABLE app.t (id INT PRIMARY KEY AUTO_INCREMENT, text VARCHAR(500))');
  await server.query('INSERT INTO app.t (text) SELECT REPEAT(MD5(seq), 10) FROM app.seq_1_to_60000');
  await server.query(`CREATE USER backup@localhost IDENTIFIED BY '${PASSWORD}'`);
  await server.query('GRANT RELOAD, PROCESS, BINLOG MONITOR, BINLOG ADMIN ON *.* TO backup@localhost');
  await server.query('GRANT SELECT, INSERT, DELETE, CREATE ON redoubt.* TO backup@localhost');
  s3 = await startS3({ stateDirectory: join(directory, 's3'), buckets: [BUCKET] });
  router = await startRouter({
    principals: new Principals(),
    services: [
      s3,
      awsJson('kms', { Decrypt: async () => ({ Plaintext: dataKey.toString('base64') }) }),
      awsJson('states', {
        SendTaskHeartbeat: hear('heartbeat'),
        SendTaskSuccess: hear('success'),
        SendTaskFailure: hear('failure'),
      }),
    ],
  });
  client = new S3Client({
    endpoint: router.endpoint,
    region: 'us-east-1',
    forcePathStyle: true,
    credentials: { accessKeyId: 'AKIATEST', secretAccessKey: 'secret' },
  });
});

afterAll(async () => {
  client?.destroy();
  await router?.close();
  await s3?.close();
  await server?.stop();
  rmSync(directory, { recursive: true, force: true });
});

beforeEach(() => {
  heard = [];
  waiting = true;
});

let attempt = 0;
const started: number[] = [];

/** Stores an instruction and starts the agent on it, as the SSM document does. */
const start = async (
  changes: object = {},
  digest?: string,
): Promise<ChildProcess & { readonly output: () => string }> => {
  attempt++;
  const optionFile = join(directory, 'option-file.cnf');
  writeFileSync(optionFile, `[client]\nuser=backup\npassword='${PASSWORD}'\n`, { mode: 0o600 });
  chmodSync(optionFile, 0o600);
  const chain = `20261122T051210Z-${String(attempt).padStart(6, '0')}`;
  const instruction = {
    kind: 'backup',
    protocol: 1,
    run: 'run-1',
    attempt,
    cluster: 'orders',
    host: 'i-0123456789abcdef0',
    taskToken: 'secret-task-token',
    heartbeatSeconds: 9,
    chain,
    backup: `20261122T051210Z-f0000-${chain.slice(-6)}`,
    seq: 0,
    reason: 'there is no chain yet',
    fencingToken: 1,
    engine: 'mariadb-backup',
    server: { socket: server.socket, dataDirectory: server.dataDirectory, optionFile },
    limits: {},
    encryption: {},
    keys: {
      data: {
        kmsKey: 'arn:aws:kms:us-east-1:000000000000:key/1',
        ciphertext: Buffer.from('wrapped').toString('base64'),
        context: { cluster: 'orders', chain, purpose: 'backup-data' },
      },
      grantToken: 'secret-grant-token',
    },
    expectedBytes: 0,
    ...changes,
  };
  const body = JSON.stringify(instruction);
  const key = `runs/orders/run-1/instruction-${attempt}.json`;
  await client.send(new PutObjectCommand({ Bucket: BUCKET, Key: key, Body: body }));
  // On a host that lets programs leave core files.
  const child = spawn(
    '/bin/sh',
    [
      '-c',
      'ulimit -S -c "$(ulimit -H -c)"; exec "$@"',
      'sh',
      agent,
      'run',
      '--bucket',
      BUCKET,
      '--instruction',
      key,
      '--digest',
      digest ?? createHash('sha256').update(body).digest('hex'),
    ],
    {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        PATH: '/usr/bin:/bin',
        AWS_ENDPOINT_URL: router.endpoint,
        AWS_REGION: 'us-east-1',
        AWS_ACCESS_KEY_ID: 'AKIATEST',
        AWS_SECRET_ACCESS_KEY: 'secret-access-key',
        TMPDIR: directory,
        MARK: `agent-${attempt}`,
      },
    },
  );
  started.push(child.pid as number);
  let text = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (text += data));
  return Object.assign(child, { output: () => text });
};

const codeOf = async (child: ChildProcess): Promise<number | null> => (await once(child, 'close'))[0] as number | null;

const keys = async (prefix: string): Promise<readonly string[]> =>
  ((await client.send(new ListObjectsV2Command({ Bucket: BUCKET, Prefix: prefix }))).Contents ?? []).map(
    ({ Key }) => Key ?? '',
  );

const manifests = async () => (await keys('clusters/')).filter((key) => key.endsWith('manifest.json'));

const read = async (key: string): Promise<Buffer> =>
  Buffer.from(
    (await (await client.send(new GetObjectCommand({ Bucket: BUCKET, Key: key }))).Body?.transformToByteArray()) ?? [],
  );

const failureHeard = () => {
  const last = heard.at(-1);
  expect(last?.operation).toBe('failure');
  return failureSchema.parse(JSON.parse(last?.input.cause ?? ''));
};

/** Secrets of an agent of these tests: other agents may be at work on this machine. */
const secretsLeft = (): readonly string[] =>
  readdirSync('/dev/shm').filter((name) => started.some((pid) => name.startsWith(`redoubt-${pid}-`)));

/** The same, and what an agent would leave on disk. */
const leftOver = (): readonly string[] => [
  ...secretsLeft(),
  ...readdirSync(directory).filter((name) => name.startsWith('redoubt-')),
];

/** The engine at work: its options come from a file, so its arguments tell nothing. */
const engines = (): readonly string[] =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
        return words.includes(`--target-dir=${directory}`) ? [words] : [];
      } catch {
        return [];
      }
    });

const readOf = (pid: number, file: string): string => {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8').replaceAll('\0', ' ');
  } catch {
    return '';
  }
};

const programOf = (pid: number): string => {
  try {
    return readlinkSync(`/proc/${pid}/exe`);
  } catch {
    return agent;
  }
};

/** A process and everything it started, however far down. */
const familyOf = (pid: number): readonly number[] => {
  const parents = new Map(
    readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .map((name) => {
        const stat = readOf(Number(name), 'stat');
        return [Number(name), Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])] as const;
      }),
  );
  const family = [pid];
  for (const member of family) for (const [child, parent] of parents) if (parent === member) family.push(child);
  return family;
};

const slow = { limits: { uploadBytesPerSecond: 20_000 } };

const untilEngineRuns = async (): Promise<void> => {
  for (let waited = 0; engines().length === 0; waited += 20) {
    if (waited > 20_000) throw new Error('the engine does not start');
    await sleep(20);
  }
};

const untilNothingRuns = async (): Promise<void> => {
  for (let waited = 0; engines().length > 0 && waited < 15_000; waited += 50) await sleep(50);
  expect(engines()).toEqual([]);
};

describe('the agent as one file', () => {
  it('starts where there is no Node and no PATH', () => {
    const said = execFileSync(agent, ['version'], { env: { PATH: '' }, encoding: 'utf8' });
    const built = JSON.parse(readFileSync(join(root, 'dist', 'agent', 'agent.json'), 'utf8'));
    expect(JSON.parse(said)).toEqual({ version: built.version, protocol: 1 });
    expect(createHash('sha256').update(readFileSync(agent)).digest('hex')).toBe(built.sha256);
  });

  it('is told nothing of Node by its environment, which could ask for a debugger or a report with every key', () => {
    const env = { PATH: '', NODE_OPTIONS: '--no-such-option' };
    expect(JSON.parse(execFileSync(agent, ['version'], { env, encoding: 'utf8' }))).toMatchObject({ protocol: 1 });
  });

  it('backs a server up, answers, and leaves nothing on the host', async () => {
    const child = await start();
    expect(await codeOf(child), child.output()).toBe(0);
    expect(heard[0]?.operation).toBe('heartbeat');
    const last = heard.at(-1);
    expect(last?.operation).toBe('success');
    const answer = backupAnswerSchema.parse(JSON.parse(last?.input.output ?? ''));
    const body = await read(answer.manifestKey);
    const digested = manifestDigestInput(body.toString());
    expect(createHash('sha256').update(digested).digest('hex')).toBe(answer.manifestSha256);
    const manifest: Manifest = manifestSchema.parse(JSON.parse(body.toString()));
    expect(manifestMacHolds(manifest, dataKey)).toBe(true);
    expect(manifest.checkpoints.toLsn).toBeGreaterThan(0n);
    const rows = await server.query('SELECT backup, written_at FROM redoubt.canary');
    expect(rows).toContainEqual({ backup: manifest.backup, written_at: manifest.canary?.writtenAt });
    expect(leftOver()).toEqual([]);
    expect(engines()).toEqual([]);
  });

  it('shows no secret to whoever looks at processes, output or the log of the run', async () => {
    const child = await start(slow);
    const seen = new Map<string, string>();
    // A process shows other words before it has become the program it was started for: all of them count.
    const note = (place: string, text: string): void => {
      const before = seen.get(place) ?? '';
      if (!before.includes(text)) seen.set(place, `${before}\n${text}`);
    };
    const look = (): void => {
      for (const pid of familyOf(child.pid as number)) {
        // The agent itself, and its likeness just before that becomes another program, have the environment it was given.
        const isAgent = programOf(pid) === agent;
        note(`/proc/${pid}/cmdline`, readOf(pid, 'cmdline'));
        note(isAgent ? 'the environment of the agent' : `/proc/${pid}/environ`, readOf(pid, 'environ'));
      }
    };
    // Short-lived helpers too: from the start on, while the engine works, and to the end.
    let over = false;
    const ended = codeOf(child).finally(() => {
      over = true;
    });
    let limits = '';
    let atWork = 0;
    // On a busy machine the engine may be at its end after a few looks.
    while (!over && atWork < 20) {
      look();
      if (engines().length > 0) {
        atWork++;
        limits ||= readOf(child.pid as number, 'limits');
      }
      await sleep(20);
    }
    expect(atWork).toBeGreaterThan(0);
    expect(limits).toMatch(/^Max core file size +0 /m);
    child.kill('SIGTERM');
    while (!over) {
      look();
      await sleep(20);
    }
    await ended;

    // It was looked in the right places: the agent, its engine with its environment, and the guardian of the secrets.
    expect(seen.get(`/proc/${child.pid}/cmdline`)).toContain('--instruction');
    for (const words of [`--target-dir=${directory}`, 'redoubt-guardian']) {
      const [place] = [...seen].find(([, text]) => text.includes(words)) ?? [];
      expect(seen.get(place?.replace('cmdline', 'environ') ?? ''), words).toMatch(/PATH=/);
    }
    const secrets = [PASSWORD, 'secret-task-token', 'secret-grant-token', dataKey.toString('base64')];
    const own = seen.get('the environment of the agent');
    expect(own).toContain('secret-access-key');
    for (const secret of secrets) expect(own).not.toContain(secret);
    seen.delete('the environment of the agent');
    for (const secret of [...secrets, 'secret-access-key']) {
      for (const [place, text] of seen) expect(text, place).not.toContain(secret);
      expect(child.output()).not.toContain(secret);
    }
    expect(child.output().length).toBeLessThan(24_000);
  });

  it('does nothing with an instruction that is not the one that was sent', async () => {
    const child = await start({}, 'a'.repeat(64));
    expect(await codeOf(child)).toBe(errorKind('InstructionTampered').exit);
    expect(heard).toEqual([]);
  });

  it.each([
    ['ServerUnreachable', () => ({ server: { ...config(), socket: join(directory, 'nowhere.sock') } })],
    ['DataDirectoryMismatch', () => ({ server: { ...config(), dataDirectory: '/var' } })],
    ['EngineMissing', () => ({ engineDirectory: '/nowhere' })],
  ])('names what is wrong: %s', async (code, changes) => {
    const child = await start(changes());
    expect(await codeOf(child), child.output()).toBe(errorKind(code as 'EngineMissing').exit);
    expect(failureHeard().code).toBe(code);
    expect(child.output()).toContain(`[${code}]`);
  });
});

const config = () => ({
  socket: server.socket,
  dataDirectory: server.dataDirectory,
  optionFile: join(directory, 'option-file.cnf'),
});

describe('a run that is ended from outside', () => {
  it.each(['SIGTERM', 'SIGINT'] as const)(
    'by %s: the engine dies, the workflow hears it, nothing stays',
    async (signal) => {
      const before = await manifests();
      const child = await start(slow);
      await untilEngineRuns();
      child.kill(signal);
      expect(await codeOf(child), child.output()).toBe(errorKind('RunCancelled').exit);
      expect(failureHeard().code).toBe('RunCancelled');
      await untilNothingRuns();
      expect(leftOver()).toEqual([]);
      expect(await manifests()).toEqual(before);
    },
  );

  it('by a workflow that does not wait any more: it stops at once', async () => {
    const child = await start(slow);
    await untilEngineRuns();
    waiting = false;
    expect(await codeOf(child), child.output()).toBe(errorKind('RunCancelled').exit);
    await untilNothingRuns();
    expect(leftOver()).toEqual([]);
  });

  it('by SIGKILL: the engine dies with it, its secrets vanish, and the next run is not in its way', async () => {
    const before = await manifests();
    const child = await start(slow);
    await untilEngineRuns();
    const mark = `agent-${attempt}`;
    child.kill('SIGKILL');
    await codeOf(child);
    await untilNothingRuns();
    for (let waited = 0; isRunning(mark) && waited < 10_000; waited += 50) await sleep(50);
    expect(secretsLeft()).toEqual([]);
    expect(await manifests()).toEqual(before);
    const next = await start();
    expect(await codeOf(next), next.output()).toBe(0);
    expect(leftOver()).toEqual([]);
  });

  it('while another one works on the cluster: HostBusy, and the other goes on', async () => {
    // Its own limit is beyond the nine seconds that the second one waits for it.
    const first = await start({ ...slow, heartbeatSeconds: 60 });
    await untilEngineRuns();
    first.kill('SIGSTOP');
    const second = await start();
    expect(await codeOf(second), second.output()).toBe(errorKind('HostBusy').exit);
    first.kill('SIGCONT');
    expect(await codeOf(first), first.output()).toBe(0);
  });

  it('by the death of the process that started it', async () => {
    const before = heard.length;
    // A shell in between, as the SSM agent's: killed, it cannot pass the signal on.
    const child = await start(slow);
    child.kill('SIGTERM');
    await codeOf(child);
    const key = `runs/orders/run-1/instruction-${attempt}.json`;
    const digest = createHash('sha256')
      .update(await read(key))
      .digest('hex');
    const shell = spawn(
      '/bin/sh',
      ['-c', `"${agent}" run --bucket ${BUCKET} --instruction ${key} --digest ${digest}; true`],
      {
        stdio: 'ignore',
        env: {
          PATH: '/usr/bin:/bin',
          AWS_ENDPOINT_URL: router.endpoint,
          AWS_REGION: 'us-east-1',
          AWS_ACCESS_KEY_ID: 'AKIATEST',
          AWS_SECRET_ACCESS_KEY: 'secret',
          TMPDIR: directory,
        },
      },
    );
    await untilEngineRuns();
    shell.kill('SIGKILL');
    await untilNothingRuns();
    for (let waited = 0; heard.at(-1)?.operation !== 'failure' && waited < 10_000; waited += 50) await sleep(50);
    expect(heard.length).toBeGreaterThan(before);
    expect(failureHeard().detail).toContain('started the agent died');
  });
});

import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  DescribeExecutionCommand,
  GetExecutionHistoryCommand,
  SFNClient,
  StartExecutionCommand,
} from '@aws-sdk/client-sfn';
import { stringify } from 'yaml';
import { processContext, runCli } from '#cli/run-cli.ts';
import { agentDirectoryOf, type LocalControlPlane, type LocalHost, startControlPlane } from '#local/control-plane.ts';
import { DatabaseHost } from '#local/demo/database-host.ts';
import { loadShop } from '#local/demo/load-shop.ts';
import { type Capacity, countingDynamoDb } from './count-capacity.ts';
import { RequestCounter } from './count-requests.ts';
import type { BackupCost, ControlPlaneFigure, Usage } from './figure.ts';
import prices from './prices.json' with { type: 'json' };
import type { Workbench } from './workbench.ts';

const CLUSTER = 'bench';
const SHOP_SCALE = 0.05;
/** What a run's end sets off by events comes after the run's own end. */
const AFTERMATH_MS = 4_000;

/** What is charged for nothing else than for being asked. */
const costOf = (usage: Usage): number =>
  usage.stateTransitions * prices.stateTransition.price +
  usage.lambdaInvocations * prices.lambdaRequest.price +
  usage.lambdaGigabyteSeconds * prices.lambdaGigabyteSecond.price +
  usage.dynamoDbReadUnits * prices.dynamoDbReadUnit.price +
  usage.dynamoDbWriteUnits * prices.dynamoDbWriteUnit.price +
  usage.kmsRequests * prices.kmsRequest.price +
  usage.s3Writes * prices.s3Write.price +
  usage.s3Reads * prices.s3Read.price +
  usage.ssmCalls * prices.ssmCall.price;

/** The operator's commands, silent; throws where one fails. */
const redoubt = async (line: string): Promise<void> => {
  let said = '';
  const note = (text: string): void => {
    said += `${text}\n`;
  };
  const terminal = { isTty: false, columns: 120, out: note, err: note, status: () => undefined };
  const exit = await runCli(line.split(' '), { ...processContext(), terminal });
  if (exit !== 0) throw new Error(`redoubt ${line} ended with ${exit}:\n${said}`);
};

/** Runs of functions and their gigabyte-seconds so far, from the functions' own logs. */
const lambdaUse = (
  controlPlane: LocalControlPlane,
): { readonly invocations: number; readonly gigabyteSeconds: number } => {
  const directory = join(controlPlane.cloud.logDirectory, 'lambda');
  const memory = new Map(
    controlPlane.cloud.resources
      .filter(({ type }) => type === 'AWS::Lambda::Function')
      .map(({ name, properties }) => [name, Number(properties.MemorySize ?? 128)]),
  );
  let [invocations, gigabyteSeconds] = [0, 0];
  for (const file of readdirSync(directory)) {
    for (const [, ms] of readFileSync(join(directory, file), 'utf8').matchAll(
      /^END RequestId: \S+ (?:Duration: (\d+) ms)?/gm,
    )) {
      invocations++;
      gigabyteSeconds += ((memory.get(file.replace(/\.log$/, '')) ?? 512) / 1024) * (Number(ms ?? 0) / 1000);
    }
  }
  return { invocations, gigabyteSeconds };
};

/** Runs the workflow to its end and answers its state transitions: states entered, and tasks tried again. Throws where it does not succeed. */
const backUp = async (controlPlane: LocalControlPlane, kind: 'full' | 'incremental'): Promise<number> => {
  const sfn = new SFNClient({});
  const { executionArn } = await sfn.send(
    new StartExecutionCommand({
      stateMachineArn: controlPlane.address.stateMachines.backup,
      name: `bench-${kind}`,
      input: JSON.stringify({ cluster: CLUSTER, kind, reason: 'bench' }),
    }),
  );
  for (;;) {
    const { status, error, cause } = await sfn.send(new DescribeExecutionCommand({ executionArn }));
    if (status === 'SUCCEEDED') break;
    if (status !== 'RUNNING') throw new Error(`the workflow ended ${status}: ${error}: ${cause}`);
    await sleep(200);
  }
  const { events = [] } = await sfn.send(new GetExecutionHistoryCommand({ executionArn, maxResults: 1000 }));
  const count = (pattern: RegExp): number => events.filter(({ type = '' }) => pattern.test(type)).length;
  return count(/StateEntered$/) + Math.max(0, count(/^TaskScheduled$/) - count(/^TaskStateEntered$/));
};

/** Takes a full and an increment of a small server through the local control plane and counts what AWS would charge for. */
export const measureControlPlane = async (bench: Workbench): Promise<ControlPlaneFigure> => {
  const directory = bench.emptyDirectory('control-plane');
  const host: LocalHost = {
    instance: 'i-0d5e8c2f4a7b91036',
    role: 'arn:aws:iam::000000000000:role/bench-database',
    cluster: CLUSTER,
    directory: join(directory, 'ssm'),
  };
  const capacity: Capacity = { read: 0, write: 0 };
  await using stack = new AsyncDisposableStack();
  const controlPlane = await startControlPlane({
    stateDirectory: join(directory, 'cloud'),
    hosts: [host],
    dynamoDb: countingDynamoDb(capacity),
    onProgress: bench.options.say,
  });
  stack.defer(() => controlPlane.close());
  Object.assign(process.env, controlPlane.environment);
  bench.options.say('starting a server');
  const server = await DatabaseHost.create(join(directory, 'host'));
  stack.defer(() => server.close());
  const connection = await server.connect();
  await loadShop(connection, SHOP_SCALE);
  const file = join(directory, 'cluster.yaml');
  writeFileSync(
    file,
    stringify({
      cluster: CLUSTER,
      engine: 'mariadb-backup',
      server: {
        socket: server.socket,
        dataDirectory: server.dataDirectory,
        optionFile: server.optionFile,
        owner: server.owner,
      },
      hosts: [{ instance: host.instance, role: host.role, agentDirectory: agentDirectoryOf(host) }],
    }),
  );
  await redoubt(`cluster apply -f ${file}`);

  const measure = async (what: string, kind: 'full' | 'incremental'): Promise<BackupCost> => {
    bench.options.say(what);
    const before = { ...capacity, ...lambdaUse(controlPlane) };
    using counter = new RequestCounter(controlPlane.cloud.endpoint, controlPlane.environment.AWS_ACCESS_KEY_ID ?? '');
    const transitions = await backUp(controlPlane, kind);
    await sleep(AFTERMATH_MS);
    const after = { ...capacity, ...lambdaUse(controlPlane) };
    const count = (service: string, pattern = /./): number =>
      counter.requests.filter((it) => it.service === service && pattern.test(it.operation)).length;
    const usage: Usage = {
      stateTransitions: transitions,
      lambdaInvocations: after.invocations - before.invocations,
      lambdaGigabyteSeconds: after.gigabyteSeconds - before.gigabyteSeconds,
      dynamoDbReadUnits: after.read - before.read,
      dynamoDbWriteUnits: after.write - before.write,
      kmsRequests: count('kms'),
      ssmCalls: count('ssm'),
      s3Writes: count('s3', /^(PUT|POST|LIST)$/),
      s3Reads: count('s3', /^(GET|HEAD)$/),
    };
    return { what, usage, dollars: costOf(usage) };
  };
  const full = await measure('a full', 'full');
  await connection.query('UPDATE shop.customers SET last_seen = NOW(6) WHERE id % 10 = 0');
  await connection.end();
  return {
    kind: 'control-plane',
    name: 'control-plane',
    title: 'What a backup asks of AWS, and what that costs',
    backups: [full, await measure('an increment', 'incremental')],
    notes: [
      `list prices of ${prices.region} on ${prices.readOn}, no free tier: test/bench/prices.json`,
      'a small database: each further 8 MiB stored is one S3 write more, each three seconds one for progress; storage and standing charges (a KMS key, metrics, alarms) are not in it',
      'durations of functions are those of this machine, each function cold once',
    ],
  };
};

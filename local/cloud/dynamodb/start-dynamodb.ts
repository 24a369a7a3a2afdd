import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import {
  CreateTableCommand,
  type CreateTableCommandInput,
  DescribeTableCommand,
  DynamoDBClient,
  ResourceNotFoundException,
  UpdateTimeToLiveCommand,
} from '@aws-sdk/client-dynamodb';
import type { JsonObject } from '../json.ts';
import { region } from '../principals.ts';
import type { ProxiedService } from '../service.ts';
import { dynamoDbLocalDirectory, hasDynamoDbLocal } from './fetch-dynamodb-local.ts';
import { serverConfiguration } from './server-configuration.ts';
import { tableInput } from './table-input.ts';

export interface DynamoDbOptions {
  /** Where the tables are kept; in memory when absent. */
  readonly stateDirectory?: string;
}

export interface DynamoDb extends ProxiedService {
  /** Creates a table from the resolved properties of an AWS::DynamoDB::Table or GlobalTable, unless it is there. */
  ensureTable(name: string, properties: JsonObject): Promise<void>;
  close(): Promise<void>;
}

const startTimeoutMilliseconds = 30_000;

const freePort = async (): Promise<number> => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
};

const requireJava = async (): Promise<void> => {
  let version: string;
  try {
    version = (await promisify(execFile)('java', ['-version'])).stderr;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    version = '';
  }
  const major = Number(/version "(?:1\.)?(\d+)/.exec(version)?.[1] ?? 0);
  if (major < 11) {
    const found = major === 0 ? 'there is no java here' : `this is Java ${major}`;
    throw new Error(
      `DynamoDB Local needs Java 11 or newer, and ${found}. Run: apt-get install --yes default-jre-headless`,
    );
  }
};

/** Java ends with this process, also when this one is killed. */
const command = (): readonly string[] =>
  existsSync('/usr/bin/setpriv') ? ['/usr/bin/setpriv', '--pdeathsig', 'TERM', 'java'] : ['java'];

const stop = async (child: ChildProcess): Promise<void> => {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  child.kill('SIGTERM');
  const forced = setTimeout(() => child.kill('SIGKILL'), 5000);
  await ended;
  clearTimeout(forced);
};

/**
 * Starts Amazon's DynamoDB Local on a free loopback port and waits until it answers.
 *
 * @throws Error with the line to run when Java or DynamoDB Local is missing
 */
export const startDynamoDb = async ({ stateDirectory }: DynamoDbOptions = {}): Promise<DynamoDb> => {
  if (!hasDynamoDbLocal())
    throw new Error('DynamoDB Local was not fetched yet. Run: node scripts/fetch-dynamodb-local.ts');
  await requireJava();
  if (stateDirectory !== undefined) await mkdir(stateDirectory, { recursive: true });
  const port = await freePort();
  const temporary = await mkdtemp(join(tmpdir(), 'dynamodb-local-'));
  const configuration = join(temporary, 'server.xml');
  await writeFile(configuration, serverConfiguration({ port, directory: stateDirectory }));
  const [program = 'java', ...before] = command();
  const child = spawn(
    program,
    [
      ...before,
      '-Xmx256m',
      '-Djava.library.path=./DynamoDBLocal_lib',
      '-Dorg.eclipse.jetty.xml.XmlParser.Validating=false',
      '-Dorg.eclipse.jetty.util.log.announce=false',
      '-cp',
      'DynamoDBLocal.jar:DynamoDBLocal_lib/*',
      'org.eclipse.jetty.xml.XmlConfiguration',
      configuration,
    ],
    { cwd: dynamoDbLocalDirectory, stdio: ['ignore', 'pipe', 'pipe'] },
  );
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      output = `${output}${chunk}`.slice(-4000);
    });
  }
  const origin = `http://127.0.0.1:${port}`;
  const client = new DynamoDBClient({
    region,
    endpoint: origin,
    credentials: { accessKeyId: 'local', secretAccessKey: 'local' },
  });
  const close = async () => {
    client.destroy();
    await stop(child);
    await rm(temporary, { recursive: true, force: true });
  };

  const deadline = Date.now() + startTimeoutMilliseconds;
  while (
    !(await fetch(origin).then(
      () => true,
      () => false,
    ))
  ) {
    if (child.exitCode !== null || Date.now() > deadline) {
      await close();
      throw new Error(`DynamoDB Local did not start (exit code ${child.exitCode}):\n${output}`);
    }
    await sleep(50);
  }

  return {
    signingName: 'dynamodb',
    origin,
    close,
    async ensureTable(name, properties) {
      const existing = await client.send(new DescribeTableCommand({ TableName: name })).catch((error) => {
        if (error instanceof ResourceNotFoundException) return undefined;
        throw error;
      });
      if (existing !== undefined) return;
      await client.send(new CreateTableCommand(tableInput(name, properties) as unknown as CreateTableCommandInput));
      const ttl = properties.TimeToLiveSpecification as { AttributeName?: string; Enabled?: boolean } | undefined;
      if (ttl?.Enabled === true) {
        await client.send(
          new UpdateTimeToLiveCommand({
            TableName: name,
            TimeToLiveSpecification: { AttributeName: ttl.AttributeName, Enabled: true },
          }),
        );
      }
    },
  };
};

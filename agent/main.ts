import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { availableParallelism, tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { KMSClient } from '@aws-sdk/client-kms';
import { PROTOCOL_VERSION } from '#core/agent-protocol.ts';
import { asRedoubtError, errorKind, RedoubtError } from '#core/errors.ts';
import { runBackup } from './commands/backup.ts';
import { openBackupServer } from './commands/open-backup-server.ts';
import { runRestore } from './commands/restore.ts';
import { runInstruction } from './commands/run-instruction.ts';
import { Cancellation } from './control/cancellation.ts';
import { createSfnClients, sfnTask } from './control/task.ts';
import { engineOf } from './engines/engine.ts';
import { openDataKey } from './keys/open-data-key.ts';
import { createS3Client, S3Repository } from './repository/s3-repository.ts';

declare const REDOUBT_AGENT_VERSION: string | undefined;

/** Set by the build; a checkout has none. */
const agentVersion = typeof REDOUBT_AGENT_VERSION === 'string' ? REDOUBT_AGENT_VERSION : '0.0.0-checkout';

const USAGE = `redoubt-agent ${agentVersion}

  redoubt-agent run --bucket BUCKET --instruction KEY --digest SHA256
  redoubt-agent version
`;

const say = (line: string): void => {
  process.stdout.write(`${line}\n`);
};

/** On tmpfs where the agent is root, as Systems Manager starts it. */
const lockDirectory = (): string => {
  const { uid } = userInfo();
  const directory = uid === 0 ? '/run/redoubt' : join(tmpdir(), `redoubt-${uid}`);
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  return directory;
};

const run = async (args: readonly string[]): Promise<number> => {
  const { values } = parseArgs({
    args: [...args],
    options: { bucket: { type: 'string' }, instruction: { type: 'string' }, digest: { type: 'string' } },
  });
  const { bucket, instruction, digest } = values;
  if (bucket === undefined || instruction === undefined || digest === undefined)
    throw new RedoubtError('InvalidInput', 'run needs --bucket, --instruction and --digest');

  using cancellation = new Cancellation();
  // A promise that nobody waits for must not leave the run half alive.
  process.on('uncaughtException', (error) => cancellation.cancel(asRedoubtError(error)));
  const s3 = createS3Client();
  const kms = new KMSClient({ maxAttempts: 8 });
  const sfn = createSfnClients();
  return await runInstruction(
    { instruction, digest },
    {
      repository: (signal) => new S3Repository(s3, bucket, signal),
      task: (token) => sfnTask(sfn, token),
      openKey: (grantToken, signal) => openDataKey(kms, grantToken, signal),
      backup: (backup, context, confirm) =>
        runBackup(backup, context, { engine: engineOf(backup.engine), openServer: openBackupServer, confirm }),
      restore: (request, context) => runRestore(request, context),
      cancellation,
      lockDirectory: lockDirectory(),
      log: say,
      now: () => new Date(),
      agentVersion,
    },
  );
};

/**
 * A core file would hold every key of the run. Node cannot set limits itself; where prlimit is missing, the shell of Systems Manager has set
 * this one. Only the soft limit: a server that the agent starts may want core files of its own.
 */
const forbidCoreFiles = (): void => {
  spawnSync('prlimit', [`--pid=${process.pid}`, '--core=0:'], {
    stdio: 'ignore',
    // Nothing of the agent's own, which may hold credentials.
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
  });
};

const main = async (): Promise<number> => {
  // libuv reads it when its pool is first used: compression must not keep file and name look-ups waiting.
  process.env.UV_THREADPOOL_SIZE ??= String(Math.max(8, availableParallelism() + 4));
  // Systems Manager may have stopped listening: that is found out in other ways.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
  const [command, ...args] = process.argv.slice(2);
  switch (command) {
    case 'run':
      forbidCoreFiles();
      return await run(args);
    case 'version':
      say(JSON.stringify({ version: agentVersion, protocol: PROTOCOL_VERSION }));
      return 0;
    default:
      process.stderr.write(USAGE);
      return command === undefined || command === 'help' || command === '--help' ? 0 : errorKind('InvalidInput').exit;
  }
};

main().then(
  // Not left to the event loop: idle connections would hold it.
  (code) => process.exit(code),
  (thrown: unknown) => {
    const error = asRedoubtError(thrown);
    process.stderr.write(`[${error.code}] ${error.detail}\n${USAGE}`);
    process.exit(errorKind(error.code).exit);
  },
);

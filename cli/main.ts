import { processContext, runCli } from './run-cli.ts';

// A reader that has seen enough (`| head`) ends nothing: the exit code stays the command's own.
for (const stream of [process.stdout, process.stderr])
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
  });

process.exitCode = await runCli(process.argv.slice(2), processContext());

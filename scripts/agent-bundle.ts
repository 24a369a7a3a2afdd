import type { BuildOptions } from 'esbuild';

/** How the agent is bundled; entry point and output are the caller's. */
export const agentBundle = {
  bundle: true,
  platform: 'node',
  target: 'node24',
  // The ESM builds: only they can be shaken.
  mainFields: ['module', 'main'],
  minifySyntax: true,
  // Identifiers stay as they are: names are in errors and stack traces. Not by `keepNames`, which calls a function for each closure that
  // is made: with it a backup takes a tenth more CPU time (npm run bench).
  minifyWhitespace: true,
  legalComments: 'none',
  logLevel: 'warning',
} as const satisfies BuildOptions;

/**
 * What Node is started with. The agent's heap is small and its buffers are outside of it: V8 then starts to mark incrementally again and again, three
 * times as often as it collects for a reason, and its helper threads take the cores from compression. Without either a backup takes a fifth less CPU
 * time (npm run bench); a whole collection takes some 15 ms. Without helper threads the process also cannot hang at its exit, where the main
 * thread waits for one that waits for the main thread to collect (nodejs/node#54918, #64274; seen here with 24.21).
 *
 * SIGUSR1 opens no debugger: its port would be anybody's on the host, and the keys with it.
 */
export const agentNodeOptions: readonly string[] = [
  '--single-threaded',
  '--no-incremental-marking',
  '--disable-sigusr1',
];

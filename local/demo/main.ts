import { join, relative } from 'node:path';
import { formatBytes } from '#cli/show/format-bytes.ts';
import { formatDuration } from '#cli/show/format-duration.ts';
import { processTerminal } from '#cli/terminal.ts';
import { holdAlone } from './hold-alone.ts';
import { mariadbShop } from './mariadb-shop.ts';
import { type Outcome, Scenario } from './scenario.ts';
import { showOn } from './show.ts';

const stateDirectory = join(import.meta.dirname, '..', '..', '.redoubt', 'demo');
const startedAt = performance.now();
const terminal = processTerminal();
let interrupted = false;
// What an interrupted scenario stumbles over is its end, not news.
const show = showOn({
  ...terminal,
  out: (text) => interrupted || terminal.out(text),
  err: (text) => interrupted || terminal.err(text),
  status: (line) => interrupted || terminal.status(line),
});

const summarize = ({ backups, restores, transactions, places }: Outcome): void => {
  show.chapter('In short');
  const stored = backups.backups.reduce((sum, { storedBytes }) => sum + storedBytes, 0);
  show.line(
    `${backups.backups.length} backups, ${formatBytes(stored)} stored, while ${transactions} transactions were written`,
  );
  for (const { what, seconds } of restores) show.line(`restored ${what} in ${formatDuration(seconds)}`);
  for (const [what, place] of Object.entries(places)) show.line(`${what}: ${relative(process.cwd(), place)}`);
};

const scenario = new Scenario({ stateDirectory, database: mariadbShop(1), show });
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
  process.once(signal, () => {
    interrupted = true;
    if (terminal.isTty) terminal.status('');
    terminal.err(`\n${signal}: ending everything that runs`);
    void scenario.close().finally(() => process.exit(130));
  });

try {
  // Two at once would remove each other's files.
  holdAlone(`${stateDirectory}.pid`);
  const outcome = await scenario.run();
  summarize(outcome);
  const wrong = outcome.restores.flatMap(({ what, comparison }) =>
    comparison.wrong.map((fault) => `${what}: ${fault}`),
  );
  const took = formatDuration((performance.now() - startedAt) / 1000);
  if (wrong.length === 0) show.chapter(`Everything that was restored is what was backed up. (${took})`);
  else {
    terminal.err(`\nTHE RESTORED DATA IS NOT WHAT WAS BACKED UP:\n${wrong.map((fault) => `  ✗ ${fault}`).join('\n')}`);
    process.exitCode = 1;
  }
} catch (error) {
  if (!interrupted) {
    terminal.err(`\nThe demo failed: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
    terminal.err(`What it left is in ${relative(process.cwd(), stateDirectory)}.`);
    process.exitCode = 1;
  }
}

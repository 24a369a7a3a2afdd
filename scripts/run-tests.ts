import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';

/** The part of vitest's JSON report that is counted. */
interface Report {
  readonly testResults: readonly {
    readonly name: string;
    readonly status: 'passed' | 'failed';
    readonly assertionResults: readonly {
      readonly status: string;
      readonly title: string;
      readonly ancestorTitles: readonly string[];
    }[];
  }[];
}

interface Count {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

/** A file that failed without a failed test (it did not load, a hook threw) counts as one failure. */
const count = ({ testResults }: Report): Count => {
  const tests = testResults.flatMap(({ status, assertionResults }) => {
    const states = assertionResults.map((test) => test.status);
    return status === 'failed' && !states.includes('failed') ? [...states, 'failed'] : states;
  });
  const passed = tests.filter((status) => status === 'passed').length;
  const failed = tests.filter((status) => status === 'failed').length;
  return { passed, failed, skipped: tests.length - passed - failed };
};

/** A line for everything that was skipped: a group whose title gives the reason counts as one. */
const skippedLines = ({ testResults }: Report): readonly string[] => {
  const names = testResults.flatMap(({ name, assertionResults }) =>
    assertionResults
      .filter(({ status }) => status !== 'passed' && status !== 'failed')
      .map(({ title, ancestorTitles }) => {
        const titles = [...ancestorTitles.filter((one) => one !== ''), title];
        const reason = titles.findIndex((one) => one.includes('(skipped: '));
        return [relative(process.cwd(), name), ...titles.slice(0, reason < 0 ? undefined : reason + 1)].join(' ▸ ');
      }),
  );
  return [...Map.groupBy(names, (name) => name)].map(
    ([name, all]) => `skipped: ${name}${all.length > 1 ? `, ${all.length} tests` : ''}`,
  );
};

const directory = await mkdtemp(join(tmpdir(), 'redoubt-tests-'));
const reportFile = join(directory, 'report.json');
const vitest = spawn(
  'vitest',
  ['run', '--reporter=default', '--reporter=json', `--outputFile.json=${reportFile}`, ...process.argv.slice(2)],
  { stdio: 'inherit' },
);
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => vitest.kill(signal));
const [exit] = (await once(vitest, 'exit')) as [number | null];

let counted: Count = { passed: 0, failed: 0, skipped: 0 };
try {
  const report = JSON.parse(await readFile(reportFile, 'utf8')) as Report;
  counted = count(report);
  for (const line of skippedLines(report)) console.log(line);
} catch {
  // No report: vitest did not come as far as to write one, and its exit code says so.
}
await rm(directory, { recursive: true });
// Whatever made vitest fail without a failed test (an unhandled error, a bad configuration, no test at all) is a failure too.
const unexplained = counted.failed === 0 && (exit !== 0 || counted.passed === 0) ? 1 : 0;
const failed = counted.failed + unexplained;
const skipped = counted.skipped > 0 ? `, ${counted.skipped} skipped` : '';
console.log(`${counted.passed} passed, ${failed} failed${skipped}`);
process.exitCode = failed > 0 ? 1 : 0;

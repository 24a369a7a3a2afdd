import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { errorCodes, errorKind } from '#core/errors.ts';

const runbook = readFileSync(new URL('../../docs/runbook.md', import.meta.url), 'utf8');
const cli = readFileSync(new URL('../../docs/cli.md', import.meta.url), 'utf8');

it('the runbook has one section for each error, with something in it, and none for an error that is gone', () => {
  const sections = [...runbook.matchAll(/^### (\S+)\n(?=\S)/gm)].map(([, code]) => code);
  expect(sections.toSorted()).toEqual([...errorCodes].toSorted());
});

it('the page of the command lists each error with its exit code', () => {
  const rows = [...cli.matchAll(/^\| (\d+) \| \[`(\w+)`\]\(runbook\.md#(\w+)\) \|$/gm)].map(
    ([, exit, code, anchor]) => [Number(exit), code, anchor],
  );
  expect(rows).toEqual(errorCodes.map((code) => [errorKind(code).exit, code, code.toLowerCase()]));
});

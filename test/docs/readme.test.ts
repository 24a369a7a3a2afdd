import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { runCli } from '#cli/run-cli.ts';
import { errorKind } from '#core/errors.ts';
import { parseClusterFile } from '#functions/apply-cluster/parse-cluster-file.ts';
import { deploymentConfigSchema } from '#infra/deployment-config.ts';

const read = (path: string): string => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');
const readme = read('README.md');

/** The text of the code blocks in `language`, without the indentation of the list they stand in. */
const blocks = (language: string): string[] =>
  [...readme.matchAll(new RegExp(`^( *)\`\`\`${language}\n([^]*?)^ *\`\`\`$`, 'gm'))].map(
    ([, indent = '', text = '']) => text.replaceAll(new RegExp(`^${indent}`, 'gm'), ''),
  );

it('shows a cluster file that can be applied', () => {
  const [file = ''] = blocks('yaml');
  expect(parseClusterFile(file)).toMatchObject({ kind: 'valid' });
});

it('shows a deployment file that can be deployed', () => {
  const [file = ''] = blocks('json');
  expect(deploymentConfigSchema.safeParse(JSON.parse(file))).toMatchObject({ success: true });
});

it('has an example of the deployment file in which every field is right', () => {
  const example = JSON.parse(read('redoubt.config.json.example'));
  expect(deploymentConfigSchema.safeParse(example)).toMatchObject({ success: true });
  expect(Object.keys(example).toSorted()).toEqual(Object.keys(deploymentConfigSchema.shape).toSorted());
});

describe('every command line of the README is one that `redoubt` understands', () => {
  const lines = [
    ...readme.matchAll(
      /(?:^|`|\$ )(?: *)redoubt ((?:cluster|clusters|backup|backups|restore|watch|runs|run|approve)\b[^`\n]*)/gm,
    ),
  ].map(([, line = '']) => line.trim());

  it('of which there are some', () => expect(lines.length).toBeGreaterThan(5));

  it.each(lines)('redoubt %s', async (line) => {
    const refused: string[] = [];
    // What comes after the command line was understood is not looked at: nobody is there to be asked.
    const exit = await runCli(line.split(/\s+/), {
      terminal: { isTty: false, columns: 80, out: () => {}, err: (text) => void refused.push(text), status: () => {} },
      find: () => Promise.reject(new Error('understood')),
      now: () => new Date(0),
      sleep: () => Promise.resolve(),
      randomSuffix: () => '000000',
      operator: () => 'ada@laptop',
      readText: () => Promise.resolve(''),
    });
    expect(refused.join('\n')).toContain('understood');
    expect(exit).toBe(errorKind('Unexpected').exit);
  });
});

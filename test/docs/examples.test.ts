import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { clusterConfigSchema } from '#core/cluster-config.ts';
import { engineOptionsSchema } from '#core/engine-options.ts';
import { parseClusterFile } from '#functions/apply-cluster/parse-cluster-file.ts';
import { ROLE } from '../doubles/sample-manifest.ts';

const page = readFileSync(new URL('../../docs/engines.md', import.meta.url), 'utf8');
const CLUSTER = `cluster: shop
engine: xtrabackup
server: {socket: /s, dataDirectory: /d, optionFile: /o}
hosts: [{instance: i-0123456789abcdef0, role: '${ROLE}'}]
`;

const examplesIn = (text: string): readonly string[] => [
  ...[...text.matchAll(/```yaml\n([^`]*)```/g)].map(([, example = '']) => example),
  ...[...text.matchAll(/`(\w+: \{[^`]*\})`/g)].map(([, example = '']) => example),
];

describe('the page on keys', () => {
  const examples = examplesIn(readFileSync(new URL('../../docs/keys.md', import.meta.url), 'utf8'));

  it('has an example', () => expect(examples).not.toEqual([]));

  it.each(examples)('shows what can be applied: %s', (text) => {
    expect(parseClusterFile(`${CLUSTER}${text}\n`)).toMatchObject({ kind: 'valid' });
  });
});

describe('the page on engines', () => {
  const examples = examplesIn(page);

  it('has examples', () => expect(examples.length).toBeGreaterThan(3));

  it.each(examples)('shows what can be applied: %s', (text) => {
    expect(parseClusterFile(`${CLUSTER}${text}\n`)).toMatchObject({ kind: 'valid' });
  });

  it('lists every option, and no other', () => {
    const rows = page.split('\n').filter((line) => /^\| `/.test(line));
    const listed = rows.flatMap((row) => [...(row.split('|')[1] ?? '').matchAll(/`(\w+)`/g)].map(([, name]) => name));
    expect(listed.toSorted()).toEqual(Object.keys(engineOptionsSchema.shape).toSorted());
    expect(Object.keys(clusterConfigSchema.shape)).toEqual(expect.arrayContaining(['engineOptions', 'history']));
  });

  it('shows a refusal as it reads', () => {
    const [, said = ''] = /InvalidClusterFile: \d+:1 (.*)/.exec(page) ?? [];
    const parsed = parseClusterFile(`${CLUSTER}incremental-basedir: /b\n`);
    expect(parsed).toMatchObject({ kind: 'invalid', problems: [`5:1 ${said}`] });
  });
});

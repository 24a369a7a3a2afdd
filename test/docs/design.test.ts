import { globSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const root = join(import.meta.dirname, '../..');
const design = readFileSync(join(root, 'docs/design.md'), 'utf8');

const filesOf = (path: string): readonly string[] =>
  globSync(path, { cwd: root })
    .map((found) => join(root, found))
    .flatMap((found) => (statSync(found).isDirectory() ? globSync(join(found, '**/*.ts')) : [found]));

const pathsIn = (text: string): readonly string[] =>
  [...text.matchAll(/`(test\/[^`]+)`/g)].map(([, path = '']) => path);

describe('every invariant of docs/design.md', () => {
  const rows = [...design.matchAll(/^\| (INV-\d) \|.*\| (.+) \|$/gm)].map(
    ([, name = '', tests = '']) => [name, tests] as const,
  );

  it('is there', () => {
    expect(rows.map(([name]) => name)).toEqual([1, 2, 3, 4, 5, 6, 7, 8].map((number) => `INV-${number}`));
  });

  it.each(rows)('%s names tests that are there, by words that stand in them', (_, tests) => {
    const texts = pathsIn(tests).map((path) => filesOf(path).map((file) => readFileSync(file, 'utf8')));
    expect(texts).not.toEqual([]);
    for (const [index, text] of texts.entries()) expect(text, pathsIn(tests)[index]).not.toEqual([]);
    const all = texts.flat().join('\n');
    for (const [, words = ''] of tests.matchAll(/"([^"]+)"/g)) expect(all.includes(words), words).toBe(true);
  });
});

import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { errorCodes } from '#core/errors.ts';

const read = (path: string): string => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');
const exists = (path: string): boolean => existsSync(new URL(`../../${path}`, import.meta.url));

const section = /^## Silent successes[\s\S]*?(?=^## )/m.exec(read('docs/design.md'))?.[0] ?? '';

interface Row {
  readonly row: string;
  readonly guard: string;
  readonly errors: readonly string[];
  /** By file. */
  readonly tests: readonly (readonly [string, readonly string[]])[];
  readonly versions: readonly string[];
}

const quoted = (text: string): readonly string[] => [...text.matchAll(/"([^"]+)"/g)].map(([, name = '']) => name);
const ticked = (text: string): readonly string[] => [...text.matchAll(/`([^`]+)`/g)].map(([, name = '']) => name);

const rows: readonly Row[] = section
  .split('\n')
  .filter((line) => line.startsWith('| ') && !line.startsWith('| row '))
  .map((line) => {
    const [row = '', , guard = '', errors = '', tests = '', versions = ''] = line.slice(2, -1).split(' | ');
    return {
      row,
      guard,
      errors: ticked(errors),
      tests: tests.split('; ').map((each) => [ticked(each)[0] ?? '', quoted(each)] as const),
      versions: quoted(versions),
    };
  });

const LATER = 'test/e2e/silent-success-xtrabackup.test.ts';

/** Every recorded silent success, and those that users reported of later versions. */
const ALL =
  '41 41c 62e 62f 99c 99a 59 59d 59e 59f 73 73c 73e 80c restart #1704 #1763 PXB-3571 38 37 63j 32 49b 49c 49d 49b2 PXB-3079 history ' +
  '42 43 44 45 46 47 94 41b 99c2 99d 5e 5b 5k 64 64b 63f 61d 61e 48';

it('has a line for each row', () => {
  const named = new Set(rows.flatMap(({ row }) => row.split(', ')));
  expect([...named].toSorted()).toEqual(ALL.split(' ').toSorted());
});

describe.each(rows)('row $row', ({ guard, errors, tests, versions }) => {
  it('names errors there are', () => {
    expect(errors.length).toBeGreaterThan(0);
    expect(errors.filter((code) => !(errorCodes as readonly string[]).includes(code))).toEqual([]);
  });

  it('names modules there are', () => {
    expect(ticked(guard).filter((path) => path.endsWith('.ts') && !exists(path))).toEqual([]);
  });

  it('names tests there are', () => {
    for (const [file, names] of [...tests, [LATER, versions] as const]) {
      const source = read(file);
      expect(names.filter((name) => !source.includes(name))).toEqual([]);
    }
    expect(tests.every(([, names]) => names.length > 0)).toBe(true);
  });
});

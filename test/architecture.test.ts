import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { describe, expect, it } from 'vitest';

const root = join(import.meta.dirname, '..');

/** Which top folder may import which; every folder may import itself. */
const mayImport: Readonly<Record<string, readonly string[]>> = {
  core: [],
  functions: ['core'],
  agent: ['core'],
  infra: ['core'],
  cli: ['core'],
  local: ['core', 'functions', 'agent', 'infra', 'cli', 'scripts'],
  scripts: ['core', 'local'],
};

/** Outside of the project, core/ knows one library. */
const LIBRARY_OF_CORE = 'zod';

const sourcesOf = (folder: string): readonly string[] =>
  readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts'))
    .map((path) => join(folder, path));

const importsOf = (text: string): readonly string[] =>
  [...text.matchAll(/(?:from|import)\s*\(?\s*'([^']+)'/g)].map(([, specifier]) => specifier as string);

/** The top folder a specifier leads to; `undefined` for a library. */
const folderOf = (file: string, specifier: string): string | undefined => {
  if (specifier.startsWith('#')) return specifier.slice(1).split('/')[0];
  if (specifier.startsWith('.')) return relative('.', join(dirname(file), specifier)).split('/')[0];
  return undefined;
};

const strayImports = (file: string, text: string): readonly string[] => {
  const own = file.split('/')[0] as string;
  const allowed = [own, ...(mayImport[own] ?? [])];
  return importsOf(text).filter((specifier) => {
    const folder = folderOf(file, specifier);
    if (folder !== undefined) return !allowed.includes(folder);
    return own === 'core' && specifier !== LIBRARY_OF_CORE;
  });
};

describe('the folders', () => {
  it.each(Object.keys(mayImport))('%s imports only what it may', (folder) => {
    const stray = sourcesOf(folder).flatMap((file) =>
      strayImports(file, readFileSync(join(root, file), 'utf8')).map((specifier) => `${file}: ${specifier}`),
    );
    expect(stray).toEqual([]);
  });

  it.each([
    ['functions/a/b.ts', "import { x } from '../../agent/x.ts';"],
    ['functions/a/b.ts', "import { x } from '#agent/x.ts';"],
    ['agent/a.ts', "const x = await import('../functions/x.ts');"],
    ['core/a.ts', "import { randomBytes } from 'node:crypto';"],
    ['cli/a.ts', "import '../local/x.ts';"],
  ])('%s with %s would be found', (file, text) => {
    expect(strayImports(file, text)).toHaveLength(1);
  });
});

describe('core/', () => {
  it('has no clock, no randomness and no environment of its own', () => {
    const ambient = /\bDate\.now\(|new Date\(\)|Math\.random\(|\bprocess\.|globalThis|crypto\./;
    const found = sourcesOf('core').filter((file) => ambient.test(readFileSync(join(root, file), 'utf8')));
    expect(found).toEqual([]);
  });
});

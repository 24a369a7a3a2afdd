import { cpSync, existsSync, mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { JsonObject } from '../json.ts';

/**
 * Lays a function's code out in a folder of its own, as Lambda does in /var/task, so that no package.json above the asset decides
 * how its files are read. Throws when the code is neither inline nor an asset of the assembly.
 */
export const unpackCode = (
  code: JsonObject,
  directory: string,
  assetPath: (objectKey: string) => string | undefined,
): string => {
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  if (typeof code.ZipFile === 'string') {
    writeFileSync(join(directory, 'index.js'), code.ZipFile);
  } else {
    const source = assetPath(String(code.S3Key));
    if (source === undefined || !existsSync(source)) {
      throw new Error(`The code ${JSON.stringify(code)} is no asset of the assembly.`);
    }
    if (!statSync(source).isDirectory()) {
      throw new Error(`The code ${basename(source)} is packed; the local Lambda reads folders.`);
    }
    cpSync(source, directory, { recursive: true });
  }
  const manifest = join(directory, 'package.json');
  if (!existsSync(manifest)) {
    writeFileSync(manifest, '{}\n');
  }
  return directory;
};

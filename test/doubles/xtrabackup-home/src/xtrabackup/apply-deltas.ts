import {
  closeSync,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { SYSTEM_FILE, tablespaceFiles } from '../../../page-store/data-files.ts';
import type { MasterKeys } from '../../../page-store/encryption-info.ts';
import { PAGE_SIZE, PLAIN_FLAGS } from '../../../page-store/page.ts';
import { Tablespace } from '../../../page-store/tablespace.ts';
import { Tablespaces } from '../../../page-store/tablespaces.ts';
import { crash, Exit, tell } from './console.ts';
import { tellNotDecryptable } from './tablespace-messages.ts';

const END_OF_LIST = 0xffff_ffff;

interface Meta {
  readonly pageSize: bigint;
  readonly space: number;
}

const readMeta = (path: string): Meta => {
  const text = existsSync(path) ? readFileSync(path, 'utf8') : '';
  const value = (name: string): string | undefined => new RegExp(`^${name} = (\\d+)$`, 'm').exec(text)?.[1];
  return { pageSize: BigInt(value('page_size') ?? 2n ** 64n - 1n), space: Number(value('space_id') ?? -1) };
};

/** The file of the base that a delta belongs to: made where there is none, renamed where the table was. */
const matchingFile = (tablespaces: Tablespaces, path: string, space: number): string | undefined => {
  if (path === SYSTEM_FILE) return path;
  const known = tablespaces.get(space);
  if (known) {
    if (known.path !== path && existsSync(path)) unlinkSync(path);
    tablespaces.rename(space, path);
    return path;
  }
  if (existsSync(path)) {
    const other = tablespaces.all().find((tablespace) => tablespace.path === path);
    if (other) {
      tablespaces.delete(other.space);
    } else {
      tell.innodb('Operating system error number 17 in a file operation.');
      tell.innodb("Error number 17 means 'File exists'");
      tell.innodb(`Cannot create file './${path}'`);
      tell.innodb(
        `The file './${path}' already exists though the corresponding table did not exist in the InnoDB data dictionary. Have you moved InnoDB .ibd files around without using the SQL commands DISCARD TABLESPACE and IMPORT TABLESPACE, or did mysqld crash in the middle of CREATE TABLE? You can resolve the problem by removing the file './${path}' under the 'datadir' of MySQL.`,
      );
      tell.tool(`error: cannot open ./${path}`);
      return undefined;
    }
  }
  Tablespace.create('.', path, space, PLAIN_FLAGS).close();
  return path;
};

const readExactly = (file: number, bytes: number, position: number, size: number): Buffer => {
  const buffer = Buffer.alloc(bytes);
  const got = readSync(file, buffer, 0, bytes, position);
  if (got < bytes) {
    for (let attempt = 0; attempt < 10; attempt++)
      tell.innodb(
        `${bytes} bytes should have been read. Only ${size - position} bytes read. Retrying for the remaining bytes.`,
      );
    tell.innodb('Retry attempts for reading partial data failed.');
    tell.innodb(`Tried to read ${bytes} bytes at offset ${position}, but was only able to read ${got}`);
    tell.raw('[FATAL] InnoDB: Cannot read from file. OS error number 17.');
    crash(6);
  }
  return buffer;
};

const applyPages = (source: string, target: string): void => {
  const from = openSync(source, 'r');
  const to = openSync(target, 'r+');
  const { size } = statSync(source);
  try {
    for (let position = 0; ; ) {
      const head = readExactly(from, PAGE_SIZE, position, size);
      const magic = head.toString('latin1', 0, 4);
      if (magic !== 'xtra' && magic !== 'XTRA') {
        tell.tool(`error: ${source} is not valid .delta file.`);
        throw new Exit(1);
      }
      const numbers: number[] = [];
      for (let at = 4; at < PAGE_SIZE; at += 4) {
        const number = head.readUInt32BE(at);
        if (number === END_OF_LIST) break;
        numbers.push(number);
      }
      const cluster = readExactly(from, (numbers.length + 1) * PAGE_SIZE, position, size);
      for (const [place, number] of numbers.entries())
        writeSync(to, cluster, (place + 1) * PAGE_SIZE, PAGE_SIZE, number * PAGE_SIZE);
      position += cluster.length;
      if (magic === 'XTRA') return;
    }
  } finally {
    closeSync(from);
    closeSync(to);
  }
};

/**
 * Applies the pages of an increment to the base in the working directory, and removes the tablespaces the increment does not know: they
 * were dropped. Throws `Exit`.
 */
export const applyDeltas = (increment: string, masters: MasterKeys): void => {
  tell.tool('Generating a list of tablespaces');
  const tablespaces = new Tablespaces('.', masters, tellNotDecryptable);
  tablespaces.openAll();
  const deltas = [
    ...readdirSync(increment).filter((name) => name.endsWith('.delta')),
    ...tablespaceFiles(increment, '.delta'),
  ];
  const kept = new Set<string>();
  for (const delta of deltas) {
    const path = delta.slice(0, -'.delta'.length);
    const source = `${increment}/${delta}`;
    const meta = readMeta(join(increment, `${path}.meta`));
    tell.tool(`page size for ${source} is ${meta.pageSize} bytes`);
    const fail = (where: string): never => {
      tell.tool(`Error: xtrabackup_apply_delta(): failed to apply ${source} to ${where}.`);
      throw new Exit(1);
    };
    if (meta.pageSize !== BigInt(PAGE_SIZE)) {
      tell.tool(`error: invalid value of page_size (${meta.pageSize} bytes) read from ${increment}/${path}.meta`);
      fail(`${process.cwd()}//${path}`);
    }
    const target = matchingFile(tablespaces, path, meta.space);
    if (target === undefined) fail(`./${path}`);
    tell.bare(`Applying ${source} to ./${path}...`);
    try {
      applyPages(source, path);
    } catch (error) {
      if (error instanceof Exit && error.code === 1) fail(`./${path}`);
      throw error;
    }
    kept.add(path);
  }
  tablespaces.close();
  for (const path of tablespaceFiles('.')) if (!kept.has(path)) unlinkSync(path);
};

import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SYSTEM_FILE, tablespaceFiles } from '../../../page-store/data-files.ts';
import { INFO_AT, wrapKey } from '../../../page-store/encryption-info.ts';
import { ENCRYPTED_FLAG, setPageLsn } from '../../../page-store/page.ts';
import { logFileName } from '../../../page-store/redo-log.ts';
import { Tablespace } from '../../../page-store/tablespace.ts';
import { componentKeyringFile } from '../mysqld/component-keyring.ts';
import { readOptionFile } from '../option-file.ts';
import { toolVersion } from '../tool-version.ts';
import { errcode } from '../write-all.ts';
import { CHECKPOINTS, readMetadata } from './checkpoints.ts';
import { Exit, tell } from './console.ts';
import { copyFile, moveFile } from './copy-files.ts';
import { loadKeyringFile } from './keyring.ts';
import { directoryOption, type Options } from './options.ts';
import { tellVersion } from './tell-version.ts';
import { TransitionKey } from './transition-key.ts';

const version = toolVersion();

const LEFT_BEHIND = new Set([
  'backup-my.cnf',
  'xtrabackup_logfile',
  'xtrabackup_binary',
  'xtrabackup_binlog_info',
  'xtrabackup_checkpoints',
  'xtrabackup_tablespaces',
]);
const LEFT_SUFFIXES = /\.(qp|lz4|zst|pmap|tmp|xbcrypt)$/;

const isLeftBehind = (name: string): boolean =>
  LEFT_BEHIND.has(name) || LEFT_SUFFIXES.test(name) || /^component_keyring_\w+\.cnf$/.test(name);

const filesBelow = (directory: string): readonly string[] =>
  readdirSync(directory, { withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory() ? filesBelow(`${directory}/${entry.name}`) : [`${directory}/${entry.name}`],
  );

/** Runs `--copy-back` and `--move-back`. Throws `Exit`. */
export const copyBack = (options: Options, move: boolean): void => {
  tellVersion();
  const target = directoryOption(options, 'target-dir') ?? `${process.cwd()}/xtrabackup_backupfiles/`;
  const datadir = options.get('datadir');
  if (datadir === undefined || datadir === '') {
    tell.bare('Error: datadir must be specified.');
    throw new Exit(1);
  }
  const home = datadir.replace(/\/+$/, '');
  if (!existsSync(home)) mkdirSync(home, { mode: 0o750 });
  if (readdirSync(home).length > 0 && !options.has('force-non-empty-directories')) {
    tell.bare(`Original data directory ${home} is not empty!`);
    throw new Exit(1);
  }
  try {
    process.chdir(target);
  } catch (error) {
    tell.tool(`Can't change dir to '${target}' ${errcode(error)}`);
    tell.bare(`cannot my_setwd ${target}`);
    throw new Exit(1);
  }
  // 2.4 and early 8.0 copy whatever is there (recorded: 61d, 61e).
  if (version.atLeast('8.0.28') && readMetadata(CHECKPOINTS)?.type !== 'full-prepared') {
    tell.bare('The target is not fully prepared. Please prepare it without option --apply-log-only');
    throw new Exit(1);
  }
  const transfer = move ? moveFile : copyFile;
  const done = new Set<string>();
  const logs: string[] = [];
  while (existsSync(logFileName(logs.length))) logs.push(logFileName(logs.length));
  for (const name of [...logs, SYSTEM_FILE]) {
    transfer(name, `${home}/${name}`, 1);
    done.add(`./${name}`);
  }
  for (const path of filesBelow('.')) {
    const name = path.split('/').at(-1) as string;
    if (done.has(path) || isLeftBehind(name)) continue;
    transfer(path, `${home}/${path.slice(2)}`, 1);
  }
  if (options.has('generate-new-master-key') && version.atLeast('2.4.11')) wrapAgain(options, home);
  tell.timed('completed OK!');
};

/** Wraps every tablespace key by a new master key of the keyring the restored server will have. */
const wrapAgain = (options: Options, home: string): void => {
  const fail = (text: string): never => {
    tell.bare(text);
    throw new Exit(1);
  };
  const keysFile = join(home, 'xtrabackup_keys');
  if (!existsSync(keysFile)) fail('option --generate_new_master_key is specified but xtrabackup_keys is absent');
  const component = version.modern
    ? (options.get('component-keyring-config') ?? componentKeyringFile(home))
    : undefined;
  const path = component?.endsWith('.cnf')
    ? (JSON.parse(readFileSync(component, 'utf8')) as { path: string }).path
    : (component ?? options.get('keyring-file-data'));
  const keyring = loadKeyringFile(path, component !== undefined);
  if (!keyring.usable) fail("can't generate new master key. Please check keyring plugin settings.");
  const keys = TransitionKey.open(readFileSync(keysFile), options.get('transition-key'), keyring);
  const uuid = readOptionFile('backup-my.cnf', ['mysqld']).find(({ name }) => name === 'server-uuid')?.value ?? '';
  const master = keyring.generate(uuid);
  for (const file of tablespaceFiles(home)) {
    const opened = Tablespace.open(home, file, { size: 1, get: () => undefined, direct: (space) => keys.get(space) });
    if (opened.kind !== 'opened') continue;
    const { tablespace } = opened;
    if ((tablespace.flags & ENCRYPTED_FLAG) !== 0 && tablespace.key) {
      const page = tablespace.read(0);
      const lsn = Number(page.readBigUInt64BE(16));
      wrapKey(tablespace.key, master.key, uuid, master.id).copy(page, INFO_AT);
      setPageLsn(page, lsn);
      tablespace.write(0, page);
    }
    tablespace.close();
  }
  writeFileSync(join(home, 'xtrabackup_master_key_id'), String(master.id), { mode: 0o640 });
};

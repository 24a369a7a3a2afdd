import { engineOptionsSchema } from './engine-options.ts';

const RESTORE = 'a restore does it by itself: redoubt restore <cluster> --to …';
const CHAIN = 'Redoubt knows the chain and each parent: redoubt backup <cluster> --incremental';
const AGENT = 'the agent says where the engine writes';
const LOGIN = 'write it into the option file on the host that server.optionFile names';
const PARTIAL = 'refused: a backup holds every table, or a restore could not be proven';
const LOCK = 'refused: without its lock the engine copies tables and the binary log position of different moments';
const KEY = 'KMS makes the keys of each chain; none is ever typed. Write encryption: {mode: native}';
const DEFAULT = 'leave it out: the engine’s own default is used';
const KEYRING = 'name the keyring in tablespaceEncryption';

/** What xtrabackup, innobackupex and mariadb-backup call things, and what does that in Redoubt. */
const ANSWERS: Readonly<Record<string, string>> = {
  'apply-log': RESTORE,
  'apply-log-only': RESTORE,
  'redo-only': RESTORE,
  prepare: RESTORE,
  'copy-back': 'redoubt restore <cluster> --to … --mode replace',
  'move-back': 'redoubt restore <cluster> --to … --mode replace',
  'force-non-empty-directories': 'refused: a restore never writes over anything; name an empty directory',
  'remove-original': 'what was decrypted is removed once it is proven',
  decompress: RESTORE,
  decrypt: 'a restore does it by itself; encryption.decryptAt says when',
  'use-memory': 'limits.prepareMemory',
  backup: 'redoubt backup <cluster>',
  incremental: CHAIN,
  'incremental-basedir': CHAIN,
  'incremental-dir': CHAIN,
  'incremental-lsn': CHAIN,
  'incremental-history-name': 'history: {incrementBy: name}',
  'incremental-history-uuid': 'history: {incrementBy: uuid}',
  'incremental-force-scan': 'leave engineOptions.pageTracking out',
  stream: 'every backup is streamed, as xbstream',
  tar: 'every backup is streamed, as xbstream',
  xbstream: 'every backup is streamed, as xbstream',
  compress: 'the agent compresses every backup with zstd: limits.compressionLevel',
  'compress-threads': 'limits.compressionThreads',
  'compress-zstd-level': 'limits.compressionLevel',
  compact: 'gone since 2.4; the agent compresses every backup with zstd: limits.compressionLevel',
  'rebuild-indexes': 'not needed: no backup leaves indexes out',
  'rebuild-threads': 'not needed: no backup leaves indexes out',
  'compress-chunk-size': 'the agent compresses every backup with zstd: limits.compressionLevel',
  encrypt: 'encryption: {mode: native, algorithm: AES256}',
  'encrypt-key': KEY,
  'encrypt-key-file': KEY,
  'encrypt-threads': 'limits.compressionThreads',
  'encrypt-chunk-size': DEFAULT,
  'transition-key': 'tablespaceEncryption: {transition: passphrase}',
  'generate-transition-key': 'tablespaceEncryption: {transition: generated}',
  'generate-new-master-key': 'a restore does it where tablespaceEncryption.transition is set',
  'keyring-file-data': KEYRING,
  'keyring-vault-config': KEYRING,
  'component-keyring-config': KEYRING,
  'component-keyring-file-config': KEYRING,
  'xtrabackup-plugin-dir': 'engineDirectory',
  parallel: 'limits.parallel',
  throttle: 'limits.engineThrottle',
  'close-files': DEFAULT,
  'log-copy-interval': DEFAULT,
  'debug-sleep-before-unlock': DEFAULT,
  ibbackup: 'engineDirectory',
  datadir: 'server.dataDirectory',
  'target-dir': AGENT,
  tmpdir: AGENT,
  'extra-lsndir': AGENT,
  'no-timestamp': AGENT,
  'fifo-streams': AGENT,
  'fifo-dir': AGENT,
  rsync: AGENT,
  socket: 'server.socket',
  host: 'the agent runs on the host of the server: server.socket',
  port: 'the agent runs on the host of the server: server.socket',
  user: LOGIN,
  password: LOGIN,
  'login-path': LOGIN,
  'defaults-file': 'server.optionFile',
  'defaults-extra-file': 'server.optionFile',
  'defaults-group': 'server.optionFile: its [client] group is read',
  tables: PARTIAL,
  'tables-file': PARTIAL,
  'tables-exclude': PARTIAL,
  databases: PARTIAL,
  'databases-file': PARTIAL,
  'databases-exclude': PARTIAL,
  include: PARTIAL,
  export: PARTIAL,
  'no-lock': LOCK,
  'no-backup-locks': LOCK,
  'lock-ddl-per-table': 'engineOptions.lockDdl',
  'no-version-check': 'the engine never looks for its own updates',
  'version-check': 'refused: the engine would hand the password to a program that asks the vendor',
  'no-server-version-check': 'refused: an engine older than its server writes backups that do not restore',
  strict: 'options are never passed on as they are typed',
};

const plain = (word: string): string => word.toLowerCase().replaceAll(/[-_ ]/g, '');

const BY_WORD = new Map([
  ...Object.keys(engineOptionsSchema.shape).map((name) => [plain(name), `engineOptions.${name}`] as const),
  ...Object.entries(ANSWERS).map(([word, answer]) => [plain(word), answer] as const),
]);

/** What to write for an option of the engine, or why there is nothing like it; `undefined` for any other word. Case, hyphens and underscores do not count. */
export const insteadOfEngineWord = (word: string): string | undefined => BY_WORD.get(plain(word));

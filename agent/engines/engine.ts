import type { HistoryLookup } from '#core/backup-history.ts';
import type { Checkpoints } from '#core/checkpoints.ts';
import type { Encryption, Limits, ServerConfig } from '#core/cluster-config.ts';
import type { EngineOptions } from '#core/engine-options.ts';
import type { ErrorCode } from '#core/errors.ts';
import type { KeyAlgorithm } from '#core/key-shape.ts';
import type { Lsn } from '#core/lsn.ts';
import type { EngineName } from '#core/server-identity.ts';
import type { KeyringKind, TablespaceEncryption, Transition } from '#core/tablespace-encryption.ts';
import type { ProcessExit } from '../io/run-process.ts';
import type { ServerFacts } from '../server/server-facts.ts';
import type { EngineLog } from './engine-log.ts';
import { mariadbBackup } from './mariadb-backup.ts';
import { xtrabackup } from './xtrabackup.ts';

/** One process to start: `runProcess` knows how. No argument and no variable ever holds a secret. */
export interface EngineCommand {
  /** Absolute, or looked up on the PATH. */
  readonly program: string;
  readonly args: readonly string[];
  /** Text of an option file. It is written with mode 0600 on tmpfs; its path becomes the first argument, `--defaults-file=…`. */
  readonly optionFile?: string;
  readonly env?: Readonly<Record<string, string>>;
}

export interface EngineVersion {
  /** `10.11.19`, `2.4.7`, `8.0.35-30`. */
  readonly version: string;
  /** `major.minor` of the version. A chain is taken, and restored, by one series. */
  readonly series: string;
  /** Whether this build of XtraBackup looks for updates of itself, unless it is told not to. */
  readonly checksForUpdates?: boolean;
}

/** Who the engine logs in as; read from the host's option file. */
export interface Credentials {
  readonly user?: string;
  readonly password?: string;
}

/** The keyring an engine is told of, in copies on tmpfs: no option ever leads it to the server's own file. */
export interface EngineKeyring {
  readonly kind: KeyringKind;
  /** The keyring or key file itself, or the configuration that leads to it. */
  readonly path: string;
  /** Opens an encrypted key file of MariaDB. */
  readonly keyFileKey?: string;
  readonly transition: Transition;
  /** Where the transition is by passphrase: what the engine gets instead of the keyring, in an option file on tmpfs. */
  readonly passphrase?: string;
  /** Where the keyring plugins of the engine lie, if the engine's own default is not the place. */
  readonly pluginDirectory?: string;
}

/** The engine's own encryption. */
export interface NativeEncryption {
  readonly algorithm: KeyAlgorithm;
  /** On tmpfs: exactly the key's bytes. */
  readonly keyFile: string;
  readonly threads: number;
}

export interface BackupRequest {
  readonly server: ServerConfig;
  /** Of the server as it was probed just before. */
  readonly facts: ServerFacts;
  readonly credentials: Credentials;
  /** 0 takes a full. */
  readonly fromLsn: Lsn;
  /** The series the server records the backup under; absent: it does not. */
  readonly history?: string;
  /** Of an increment: what the engine finds `fromLsn` by. */
  readonly lookup?: HistoryLookup;
  readonly limits: Limits;
  readonly options: EngineOptions;
  /** The engine leaves checkpoints and info here, in clear; must exist and be empty. */
  readonly lsnDirectory: string;
  /** For the engine's temporary files; must exist. */
  readonly scratchDirectory: string;
  readonly engineDirectory?: string;
  readonly keyring?: EngineKeyring;
  readonly native?: NativeEncryption;
}

/** The text of a directory's `backup-my.cnf`: what the engine knew of the server. */
export type BackupOptions = string;

export interface PrepareRequest {
  /** Absolute: the engine changes its working directory. */
  readonly baseDirectory: string;
  /** Absolute; absent where the base itself is prepared. */
  readonly incrementDirectory?: string;
  /** Whether nothing is applied after this step. */
  readonly last: boolean;
  readonly memoryBytes: number;
  readonly engineDirectory?: string;
  /** The keyring of the backup that is applied, with the options of the base and of that backup. */
  readonly keyring?: EngineKeyring & { readonly baseOptions: BackupOptions; readonly stepOptions: BackupOptions };
}

export interface DecryptRequest {
  /** Absolute: the engine changes its working directory. */
  readonly directory: string;
  readonly native: NativeEncryption;
  readonly engineDirectory?: string;
}

export interface RekeyRequest {
  /** Fully prepared. It is moved from here … */
  readonly preparedDirectory: string;
  /** … to here, which must be empty. */
  readonly dataDirectory: string;
  /** Gets the new master key. */
  readonly keyring: EngineKeyring;
  readonly engineDirectory?: string;
}

export type EngineOperation = 'backup' | 'prepare' | 'decrypt' | 'rekey';

/** What is asked of an engine by way of encryption. */
export interface EncryptionAsked {
  readonly encryption: Pick<Encryption, 'mode' | 'algorithm'>;
  readonly tablespaceEncryption?: TablespaceEncryption | undefined;
  readonly engineDirectory?: string | undefined;
}

export type Verdict =
  | { readonly kind: 'ok' }
  | { readonly kind: 'refused'; readonly code: ErrorCode; readonly detail: string };

/** Names of the files the engine writes beside the data: the first one that exists is the one to read. */
export interface MetadataFiles {
  readonly checkpoints: readonly string[];
  readonly info: readonly string[];
  readonly binlog: readonly string[];
}

/** A backup program: what to start, and what to think of how it ended. Everything but `version` is pure. */
export interface Engine {
  readonly name: EngineName;
  readonly metadataFiles: MetadataFiles;
  /** Asks the program. Throws `EngineMissing` where it cannot be started, `EngineUnsuited` where its answer is not understood. */
  version(engineDirectory?: string): Promise<EngineVersion>;
  /** Throws `EngineUnsuited` unless this version may back up that server. */
  checkSuits(version: EngineVersion, facts: ServerFacts): void;
  /** Throws `EncryptionUnsupported`, naming the alternative, unless this version can do what is asked. */
  checkEncryption(version: EngineVersion, asked: EncryptionAsked): void;
  /** Throws `OptionUnsupported` for an option that this version does not know. */
  checkOptions(version: EngineVersion, options: EngineOptions): void;
  /** Whether it leaves out an encrypted table whose first page the server has not written yet (recorded: 99a). */
  missesUnwritten(version: EngineVersion): boolean;
  /** Streams xbstream to its standard output. */
  backupCommand(version: EngineVersion, request: BackupRequest): EngineCommand;
  /** To be run one after the other, each judged before the next. */
  prepareCommands(version: EngineVersion, request: PrepareRequest): readonly EngineCommand[];
  /** Decrypts every file of a directory beside itself; the encrypted ones stay, because the engine deletes them unproven (recorded: 37). */
  decryptCommand(version: EngineVersion, request: DecryptRequest): EngineCommand;
  /** Moves a directory that was prepared with a transition key, under a new master key of the keyring. */
  rekeyCommand(version: EngineVersion, request: RekeyRequest): EngineCommand;
  /** Exit code, closing line, known lines of data loss, known failures. "ok" is necessary, not sufficient: INV-1. */
  judge(operation: EngineOperation, exit: ProcessExit, log: EngineLog): Verdict;
  /** Whether a table that was made while it copied must be in the stream: it copies those too, or lets none be made. Else redo makes it anew. */
  streamsCreatedTables(version: EngineVersion): boolean;
  /** The `backup_type` a base must show after this prepare step. */
  preparedType(last: boolean): Checkpoints['type'];
}

const ENGINES: Readonly<Record<EngineName, Engine>> = { 'mariadb-backup': mariadbBackup, xtrabackup };

export const engineOf = (name: EngineName): Engine => ENGINES[name];

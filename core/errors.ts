/**
 * The closed set of everything that can go wrong, by name. The same name is the thrower's code, the Step Functions error
 * a `Catch` matches, the agent's exit code and the section of docs/runbook.md.
 *
 * - `exit`: the agent's and the CLI's exit code; unique, 10–125 or 199 (below are Node's, 126 and 127 the shell's, from 128 on
 *   those of signals).
 * - `retryable`: the same request may succeed later without anybody changing anything.
 * - `fallsBack`: the chain cannot go on, but a new full can be taken: done once, in the same execution.
 */
interface ErrorKind {
  readonly exit: number;
  readonly retryable: boolean;
  readonly fallsBack?: true;
  readonly hint: string;
}

const KINDS = {
  // What was asked for
  InvalidInput: { exit: 10, retryable: false, hint: 'Correct the input; every problem found is listed.' },
  InvalidClusterFile: { exit: 11, retryable: false, hint: 'Correct the lines named and apply the file again.' },
  UnknownCluster: {
    exit: 12,
    retryable: false,
    hint: 'List the clusters with `redoubt clusters`, or apply its file first.',
  },
  UnknownBackup: { exit: 13, retryable: false, hint: 'List the backups with `redoubt backups <cluster>`.' },
  UnknownRun: { exit: 14, retryable: false, hint: 'List the runs with `redoubt runs`.' },
  NoRestorableBackup: {
    exit: 15,
    retryable: false,
    hint: 'No backup of this cluster was available at that time; take one with `redoubt backup <cluster> --full`.',
  },
  BackupInProgress: {
    exit: 16,
    retryable: true,
    hint: 'Another run holds the cluster; watch it with `redoubt watch <run>` and start again when it has ended.',
  },
  ConfirmationMissing: {
    exit: 17,
    retryable: false,
    hint: 'What cannot simply be taken back needs its name typed again; the detail says which option with which name.',
  },
  ApprovalDenied: { exit: 18, retryable: false, hint: 'The approver refused; the reason is in the run.' },

  // The host and the way to it
  HostNotManaged: {
    exit: 30,
    retryable: false,
    hint: 'Systems Manager does not know the instance, or may not ask it: check its id, its tag redoubt-cluster, the SSM agent and the managed policy of its role.',
  },
  HostUnreachable: {
    exit: 31,
    retryable: true,
    hint: 'Systems Manager could not deliver the command in time: check that the host is up and its SSM agent is online.',
  },
  AgentMissing: {
    exit: 32,
    retryable: false,
    hint: 'Install the agent on the host with the InstallAgent document, then start again.',
  },
  AgentOutdated: {
    exit: 33,
    retryable: false,
    hint: 'Agent and control plane speak different protocol versions: run the InstallAgent document on the host.',
  },
  AgentDied: {
    exit: 34,
    retryable: true,
    hint: 'The agent ended without an answer (killed, out of memory, host stopped); see the command output in Systems Manager.',
  },
  HostSilent: {
    exit: 35,
    retryable: true,
    hint: 'No heartbeat came in time: check the host, its network and its load.',
  },
  InstructionTampered: {
    exit: 36,
    retryable: false,
    hint: 'The instruction in the repository is not the one that was sent; look for who wrote to runs/ in CloudTrail.',
  },
  RunCancelled: { exit: 37, retryable: true, hint: 'Somebody or a timeout ended the run; start it again.' },
  HostBusy: {
    exit: 38,
    retryable: true,
    hint: 'Another run of the agent works on the same cluster or directory of this host; wait for it to end.',
  },

  // The database server
  ServerUnreachable: {
    exit: 50,
    retryable: true,
    hint: 'The server does not answer at the socket or address of the cluster file: is it running?',
  },
  ServerAccessDenied: {
    exit: 51,
    retryable: false,
    hint: 'User or password in the host option file is refused by the server.',
  },
  PrivilegesMissing: {
    exit: 52,
    retryable: false,
    hint: 'Grant the backup user the privileges named; the statement is in the runbook.',
  },
  DataDirectoryMismatch: {
    exit: 53,
    retryable: false,
    hint: 'The directory in the cluster file is not the data directory of the server that answered: correct the file or the socket.',
  },
  ServerChanged: {
    exit: 54,
    retryable: false,
    fallsBack: true,
    hint: 'Another server, data directory, series or page size than the chain was taken from: a new full starts a new chain.',
  },
  ChainBroken: {
    exit: 55,
    retryable: false,
    fallsBack: true,
    hint: 'The server does not descend from the last backup (LSN behind it, or its canary is gone): a new full starts a new chain.',
  },
  KeyringChanged: {
    exit: 56,
    retryable: false,
    fallsBack: true,
    hint: 'The keyring no longer holds the keys of the chain: a new full starts a new chain.',
  },
  ServerRestarted: {
    exit: 57,
    retryable: true,
    hint: 'The server restarted while it was copied; take the backup again.',
  },
  EngineMissing: {
    exit: 58,
    retryable: false,
    hint: 'Install the backup program that belongs to the server (mariadb-backup, percona-xtrabackup) on the host.',
  },
  EngineUnsuited: {
    exit: 59,
    retryable: false,
    hint: 'The backup program and the server are of different series; install the one that matches.',
  },
  KeyringUnreadable: {
    exit: 60,
    retryable: false,
    hint: 'A keyring cannot be read, or does not hold the keys that are needed; the detail says which. Check its path and permissions or, for a service, its configuration.',
  },
  EncryptionUnsupported: {
    exit: 61,
    retryable: false,
    hint: 'This engine version cannot do what the cluster file asks of encrypted tablespaces; the detail names the alternative.',
  },

  KeyringRotated: {
    exit: 62,
    retryable: true,
    hint: 'The keyring changed while the backup was taken; take it again, and do not rotate master keys meanwhile.',
  },
  OptionUnsupported: {
    exit: 63,
    retryable: false,
    hint: 'This engine has no such option; the detail says from which version on, or to leave it out of the cluster file.',
  },
  TablespaceUnwritten: {
    exit: 64,
    retryable: true,
    hint: 'An encrypted table is so new that the server keeps its first page in memory only: take the backup again; the runbook says how to hurry the server.',
  },

  // Taking a backup
  EngineFailed: {
    exit: 70,
    retryable: true,
    hint: 'The engine ended with an error; its last lines are in the detail.',
  },
  EngineLostData: {
    exit: 71,
    retryable: false,
    hint: 'The engine said OK, but its log or its stream shows that data is lost; nothing was recorded. The detail says what.',
  },
  StreamIncomplete: {
    exit: 72,
    retryable: true,
    hint: 'The stream of the engine ended before every file was complete; take the backup again.',
  },
  StreamCorrupt: {
    exit: 73,
    retryable: true,
    hint: 'A chunk of the engine stream does not match its checksum; check memory and disk of the host.',
  },
  TablespaceMissing: {
    exit: 74,
    retryable: false,
    hint: 'The server knows tablespaces that are not in the backup; the detail names them. Take it again if they were rebuilt just then; else check keyring and permissions.',
  },
  CheckpointsInvalid: {
    exit: 75,
    retryable: true,
    hint: 'The LSNs the engine wrote do not fit what was asked for; the detail says which.',
  },
  RedoOverrun: {
    exit: 76,
    retryable: true,
    hint: 'The server overwrote redo faster than it was copied: enlarge the redo log or back up at a quieter time.',
  },
  DdlDuringBackup: {
    exit: 77,
    retryable: true,
    hint: 'A schema change the engine cannot follow ran during the backup; take it again when none runs.',
  },
  DiskFull: { exit: 78, retryable: false, hint: 'A disk is full; the detail says which. Free space and start again.' },
  UploadFailed: { exit: 79, retryable: true, hint: 'The repository did not take the data after all retries.' },
  RepositoryRefused: {
    exit: 80,
    retryable: false,
    hint: 'The repository denies access: check the host policy, the role tag redoubt-cluster and the bucket policy.',
  },
  KeyRefused: {
    exit: 81,
    retryable: false,
    hint: 'KMS refuses the key of this chain: check the key state, its policy and that the role in the cluster file is the role of the host.',
  },
  KeyInvalid: {
    exit: 82,
    retryable: false,
    hint: 'The key has not the length or form its use needs; the detail says how it differs.',
  },

  // Restoring
  NotEnoughSpace: {
    exit: 100,
    retryable: false,
    hint: 'The restore needs the space named in the detail; free it or choose another directory.',
  },
  TargetNotEmpty: {
    exit: 101,
    retryable: false,
    hint: 'The target directory holds files; choose an empty one. Nothing was touched.',
  },
  TargetInUse: {
    exit: 102,
    retryable: false,
    hint: 'A server runs on the target data directory; stop it first. Nothing was touched.',
  },
  ObjectMissing: {
    exit: 103,
    retryable: false,
    hint: 'An object of the backup is gone from the repository; look for a delete marker or an older version.',
  },
  ObjectTampered: {
    exit: 104,
    retryable: false,
    hint: 'An object is not what was uploaded; restore from an older version of it or from another backup, and look into CloudTrail.',
  },
  ManifestInvalid: {
    exit: 105,
    retryable: false,
    hint: 'The manifest cannot be read or was not written by the chain it claims; look for an older version of it.',
  },
  RepositoryUnavailable: {
    exit: 106,
    retryable: true,
    hint: 'The repository did not answer after all retries; start again.',
  },
  PrepareFailed: {
    exit: 107,
    retryable: true,
    hint: 'The engine could not apply the backup; its last lines are in the detail. The next try starts from a fresh extract.',
  },
  PrepareIncomplete: {
    exit: 108,
    retryable: false,
    hint: 'The engine said OK, but the prepared directory is not what the backup holds; the detail says what differs.',
  },
  RestoredServerFailed: {
    exit: 109,
    retryable: false,
    hint: 'The restored server did not start or failed its check; the old data directory was put back. Its error log is in the detail.',
  },
  KeyShredded: {
    exit: 110,
    retryable: false,
    hint: 'The keys of this chain were shredded on purpose and nothing can open it any more; restore from another chain.',
  },

  // The control plane
  LeaseLost: {
    exit: 120,
    retryable: true,
    hint: 'Another run took the cluster over; this one recorded nothing.',
  },
  CatalogConflict: {
    exit: 121,
    retryable: true,
    hint: 'The chain went on in the meantime; nothing was recorded. Start the backup again.',
  },
  CatalogUnavailable: {
    exit: 122,
    retryable: true,
    hint: 'DynamoDB did not answer or refused the write; start again.',
  },
  ControlPlaneMissing: {
    exit: 123,
    retryable: false,
    hint: 'No control plane of that name in this account and region: check credentials, region and --name, or deploy it.',
  },
  AccessDenied: {
    exit: 119,
    retryable: false,
    hint: 'The credentials are missing, expired or may not do what the detail names: check AWS_PROFILE, the login and its policy.',
  },
  ControlPlaneUnreachable: {
    exit: 125,
    retryable: true,
    hint: 'The AWS endpoint did not answer: check the network, the region and AWS_ENDPOINT_URL.',
  },
  ServiceUnavailable: {
    exit: 124,
    retryable: true,
    hint: 'An AWS service the control plane needs (named in the detail) did not answer after all retries; start again.',
  },
  Unexpected: {
    exit: 199,
    retryable: false,
    hint: 'This is a defect of Redoubt: please report it with the run and the log.',
  },
} as const satisfies Record<string, ErrorKind>;

export type ErrorCode = keyof typeof KINDS;

export const errorCodes = Object.keys(KINDS) as readonly ErrorCode[];

export const errorKind = (code: ErrorCode): ErrorKind => KINDS[code];

export const isErrorCode = (name: string): name is ErrorCode => Object.hasOwn(KINDS, name);

/** The error whose exit code is `exit`, if it is one of ours. */
export const errorCodeOfExit = (exit: number): ErrorCode | undefined =>
  errorCodes.find((code) => KINDS[code].exit === exit);

/** After these a backup run takes a full instead, once. */
export const fallbackErrors = errorCodes.filter((code) => errorKind(code).fallsBack);

/**
 * The one error type. `detail` says what happened to what, in words that may be stored and shown: never a secret.
 * `name` is the code, because Step Functions matches on the name a Lambda throws.
 */
export class RedoubtError extends Error {
  readonly code: ErrorCode;
  readonly detail: string;

  constructor(code: ErrorCode, detail: string, options?: { readonly cause?: unknown }) {
    super(detail, options);
    this.name = code;
    this.code = code;
    this.detail = detail;
  }

  get retryable(): boolean {
    return KINDS[this.code].retryable;
  }

  get hint(): string {
    return KINDS[this.code].hint;
  }
}

/** `error` itself where it is ours; anything else is a defect and becomes `Unexpected` with the original as cause. */
export const asRedoubtError = (error: unknown): RedoubtError =>
  error instanceof RedoubtError
    ? error
    : new RedoubtError('Unexpected', error instanceof Error ? `${error.name}: ${error.message}` : String(error), {
        cause: error,
      });

import type { BackupRequest } from './engine.ts';

/**
 * Where an increment begins, and under which name the backup is recorded; the same for both engines, and on the command line only: an option file
 * does not do (documentation of `--history`). An LSN would win over a name or a uuid, so only one of them is ever given.
 */
export const historyArguments = ({ fromLsn, history, lookup }: BackupRequest): readonly string[] => [
  ...(history === undefined ? [] : [`--history=${history}`]),
  ...(fromLsn === 0n
    ? []
    : [lookup === undefined ? `--incremental-lsn=${fromLsn}` : `--incremental-history-${lookup.by}=${lookup.value}`]),
];

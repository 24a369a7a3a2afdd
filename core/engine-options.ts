import { z } from 'zod';
import type { ClusterConfig } from './cluster-config.ts';
import type { EngineName } from './server-identity.ts';

const seconds = z.number().int().min(1).max(31_536_000);

/**
 * Options of the engine that an operator may choose, each named after its option: `slaveInfo` is `--slave-info`. Nothing is passed on that is not
 * here, and nothing is here that could make a backup other than it is recorded as, such as partial ones or ones without a lock.
 */
export const engineOptionsSchema = z.strictObject({
  slaveInfo: z.boolean().optional(),
  galeraInfo: z.boolean().optional(),
  safeSlaveBackup: z.boolean().optional(),
  safeSlaveBackupTimeout: seconds.optional(),
  ftwrlWaitTimeout: seconds.optional(),
  ftwrlWaitThreshold: seconds.optional(),
  ftwrlWaitQueryType: z.enum(['all', 'update', 'select']).optional(),
  killLongQueriesTimeout: seconds.optional(),
  killLongQueryType: z.enum(['all', 'update', 'select']).optional(),
  /** `false` lets schema changes go on while files are copied; the engine then fails where it cannot follow them. */
  lockDdl: z
    .boolean({
      error: ({ input }) =>
        /^reduced$/i.test(String(input))
          ? 'REDUCED is refused: it is a technical preview under which tables went missing; write true or false'
          : 'true or false',
    })
    .optional(),
  lockDdlTimeout: seconds.optional(),
  backupLockTimeout: seconds.optional(),
  backupLockRetryCount: z.number().int().min(0).max(1000).optional(),
  registerRedoLogConsumer: z.boolean().optional(),
  /** A name of the server's `innodb_redo_log_archive_dirs`. */
  redoLogArchDir: z
    .string()
    .regex(/^[\w./:-]{1,255}$/, 'label:directory')
    .optional(),
  pageTracking: z.boolean().optional(),
});
export type EngineOptions = Readonly<z.infer<typeof engineOptionsSchema>>;
export type EngineOptionName = keyof EngineOptions;

/** `--slave-info` for `slaveInfo`. */
export const optionOf = (name: string): string =>
  `--${name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;

/** What every mariadb-backup knows (its `--help`, 10.11); which XtraBackup knows what depends on its version. */
export const MARIADB_OPTIONS: readonly EngineOptionName[] = [
  'slaveInfo',
  'galeraInfo',
  'safeSlaveBackup',
  'safeSlaveBackupTimeout',
  'ftwrlWaitTimeout',
  'ftwrlWaitThreshold',
  'ftwrlWaitQueryType',
  'killLongQueriesTimeout',
  'killLongQueryType',
];

export const optionNames = (options: EngineOptions): readonly EngineOptionName[] =>
  (Object.keys(options) as EngineOptionName[]).filter((name) => options[name] !== undefined);

/** One line for each option that the engine knows in no version; `undefined` where there is none. */
export const engineOptionsFault = ({
  engine,
  engineOptions,
}: Pick<ClusterConfig, 'engineOptions'> & { readonly engine: EngineName }): string | undefined => {
  if (engine !== 'mariadb-backup') return undefined;
  const problems = optionNames(engineOptions)
    .filter((name) => !MARIADB_OPTIONS.includes(name))
    .map((name) => `engineOptions.${name}: mariadb-backup has no ${optionOf(name)}; leave it out`);
  return problems.length > 0 ? problems.join('\n') : undefined;
};

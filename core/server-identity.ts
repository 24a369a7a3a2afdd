import { z } from 'zod';

/** Which program takes the backups of a cluster. */
export const engineNameSchema = z.enum(['mariadb-backup', 'xtrabackup'], {
  error: ({ input }) =>
    input === 'innobackupex' ? 'innobackupex is xtrabackup since 2.3; write xtrabackup' : undefined,
});
export type EngineName = z.infer<typeof engineNameSchema>;

/**
 * What an increment is only valid against. `uuid` is `@@server_uuid` (MySQL, Percona Server) or `@@server_uid` (MariaDB
 * since 10.5.26, 10.6.19, 10.11.9, 11.4.3); an older MariaDB has none, the agent then derives one from the host and the
 * data directory. `series` is `major.minor`.
 */
export const serverIdentitySchema = z.object({
  uuid: z.string().min(1),
  dataDirectory: z.string().startsWith('/'),
  flavour: z.enum(['mariadb', 'mysql', 'percona']),
  series: z.string().regex(/^\d+\.\d+$/),
  pageSize: z.number().int().min(4096).max(65536),
});
export type ServerIdentity = Readonly<z.infer<typeof serverIdentitySchema>>;

/** Names the first thing in which two identities differ, in words for the operator; `undefined` where they are the same. */
export const identityDifference = (was: ServerIdentity, is: ServerIdentity): string | undefined => {
  for (const key of ['uuid', 'dataDirectory', 'flavour', 'series', 'pageSize'] as const) {
    if (was[key] !== is[key]) return `${key} was ${was[key]}, is ${is[key]}`;
  }
  return undefined;
};

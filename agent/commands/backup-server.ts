import type { HistoryLookup } from '#core/backup-history.ts';
import type { BackupId } from '#core/ids.ts';
import type { Lsn } from '#core/lsn.ts';
import type { Canary } from '#core/manifest.ts';
import type { Credentials, EngineVersion } from '../engines/engine.ts';
import type { ServerFacts } from '../server/server-facts.ts';

/** The server that is backed up, as a backup needs it. Every method throws named errors only. */
export interface BackupServer {
  /** Whom the engine logs in as. */
  readonly credentials: Credentials;
  /** Throws `DataDirectoryMismatch` where the directory of the cluster file is not this server's. */
  probe(): Promise<ServerFacts>;
  /** Throws `PrivilegesMissing`, naming them. */
  checkPrivileges(engine: EngineVersion): Promise<void>;
  /** The canary row named after `backup`. */
  canaryOf(backup: BackupId): Promise<Canary | 'absent'>;
  /** What the engine would find in the server's backup history; `undefined` where there is no such record. */
  historyLsn(engine: EngineVersion, lookup: HistoryLookup): Promise<Lsn | undefined>;
  /** Durable once this resolves. */
  writeCanary(canary: Canary, facts: ServerFacts): Promise<'written' | 'read-only'>;
}

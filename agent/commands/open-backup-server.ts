import type { BackupInstruction } from '#core/agent-protocol.ts';
import { RedoubtError } from '#core/errors.ts';
import type { BackupServer } from './backup-server.ts';

/** Completed below. */
export const openBackupServer = async (_instruction: BackupInstruction): Promise<BackupServer> => {
  throw new RedoubtError('ServerUnreachable', 'not connected yet');
};

import type { ClusterConfig } from './cluster-config.ts';
import type { ErrorCode } from './errors.ts';

export interface EncryptionFault {
  readonly code: Extract<ErrorCode, 'EncryptionUnsupported'>;
  /** One line for each problem, with what to write instead. */
  readonly detail: string;
}

/**
 * What a cluster file asks of encryption that its engine cannot do, whatever the version; `undefined` where it can. What
 * depends on the versions of engine and server, only the host can say.
 */
export const encryptionFault = ({
  engine,
  encryption: { mode, algorithm },
  tablespaceEncryption,
}: ClusterConfig): EncryptionFault | undefined => {
  const problems: string[] = [];
  const kind = tablespaceEncryption?.kind;
  if (engine === 'mariadb-backup' && mode !== 'sealed')
    problems.push(
      `encryption.mode: ${mode} is the encryption of xtrabackup, mariadb-backup has none of its own; write mode: sealed`,
    );
  if (mode === 'sealed' && algorithm !== 'AES256')
    problems.push(
      `encryption.algorithm: sealed backups are always AES-256; leave algorithm out, or write mode: native for ${algorithm}`,
    );
  if (engine === 'mariadb-backup' && kind !== undefined && kind !== 'file-key-management')
    problems.push(
      `tablespaceEncryption.kind: ${kind} is a keyring of MySQL, which mariadb-backup does not know; write kind: file-key-management, or engine: xtrabackup`,
    );
  if (engine === 'xtrabackup' && kind === 'file-key-management')
    problems.push(
      'tablespaceEncryption.kind: file-key-management is of MariaDB, which xtrabackup does not back up; write kind: keyring-file or another keyring of MySQL, or engine: mariadb-backup',
    );
  return problems.length > 0 ? { code: 'EncryptionUnsupported', detail: problems.join('\n') } : undefined;
};

import { RedoubtError } from '#core/errors.ts';
import type { KeyringKind } from '#core/tablespace-encryption.ts';
import { compareBuilds } from './compare-versions.ts';
import type { Engine, EngineVersion } from './engine.ts';
import { seriesOf } from './xtrabackup-series.ts';

const unsupported = (detail: string): RedoubtError => new RedoubtError('EncryptionUnsupported', detail);

/** What to use instead of a keyring that a series does not know. */
const alternative = (kind: KeyringKind, known: readonly string[]): string =>
  kind === 'file-key-management' ? 'that is MariaDB’s: use mariadb-backup' : `it knows ${known.join(', ')}`;

const olderThan = ({ version }: EngineVersion, since: string): boolean => compareBuilds(version, since) < 0;

export const checkXtrabackupEncryption: Engine['checkEncryption'] = (version, { encryption, tablespaceEncryption }) => {
  const { keyrings, transitionSince, nativeSince } = seriesOf(version.series);
  if (encryption.mode !== 'sealed' && olderThan(version, nativeSince))
    throw unsupported(
      `native encryption needs XtraBackup ${nativeSince} or newer; with ${version.version} set encryption.mode to sealed`,
    );
  if (tablespaceEncryption === undefined) return;
  const { kind } = tablespaceEncryption;
  const known = keyrings[kind];
  if (known === undefined)
    throw unsupported(`XtraBackup ${version.version} knows no ${kind}: ${alternative(kind, Object.keys(keyrings))}`);
  if (known.since !== undefined && olderThan(version, known.since))
    throw unsupported(
      `${kind} needs XtraBackup ${known.since} or newer of series ${version.series}; this is ${version.version}`,
    );
  if (
    'transition' in tablespaceEncryption &&
    tablespaceEncryption.transition !== 'none' &&
    olderThan(version, transitionSince)
  )
    throw unsupported(
      `a transition key needs XtraBackup ${transitionSince} or newer; with ${version.version} set transition to none: the escrowed keyring restores`,
    );
};

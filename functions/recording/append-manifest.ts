import { appendBackup } from '#core/append-backup.ts';
import { assertNever } from '#core/assert-never.ts';
import type { BackupRecord } from '#core/catalog-records.ts';
import { RedoubtError } from '#core/errors.ts';
import type { RunId } from '#core/ids.ts';
import type { Chains } from '#core/ports/chains.ts';
import type { FoundManifest } from './read-manifest.ts';

export interface Appended {
  readonly record: BackupRecord;
  /** `false` where it had been recorded before. */
  readonly isNew: boolean;
}

/**
 * Appends a backup to the cluster's line of descent, under the lease of `lease.run`. May be called again after a crash: what is
 * recorded already stays as it is. Throws `LeaseLost` where the lease is another's and `CatalogConflict` where the backup does
 * not continue the line; nothing was written then.
 */
export const appendManifest = async (
  chains: Chains,
  { manifest, key, sha256 }: FoundManifest,
  lease: { readonly run: RunId; readonly token: number },
): Promise<Appended> => {
  const { cluster, chain, seq } = manifest;
  // Twice: the first write may have been made by an earlier call whose answer was lost, which the second look shows.
  for (const isLastTry of [false, true]) {
    const expected = await chains.head(cluster);
    const decision = appendBackup(expected, manifest, key, sha256);
    switch (decision.kind) {
      case 'recorded':
        return { record: decision.record, isNew: false };
      case 'refuse': {
        const recorded = await chains.backup(cluster, chain, seq);
        if (recorded?.manifestSha256 === sha256) return { record: recorded, isNew: false };
        throw new RedoubtError('CatalogConflict', `${manifest.backup} is not recorded: ${decision.reason}`);
      }
      case 'append': {
        const { kind: _kind, ...change } = decision;
        const outcome = await chains.append({ cluster, expected, lease, ...change });
        if (outcome === 'appended') return { record: decision.record, isNew: true };
        if (outcome === 'lease-lost')
          throw new RedoubtError('LeaseLost', `${lease.run} no longer holds the lease of ${cluster}`);
        if (isLastTry) break;
        continue;
      }
      default:
        return assertNever(decision);
    }
  }
  throw new RedoubtError('CatalogConflict', `the chain of ${cluster} went on while ${manifest.backup} was recorded`);
};

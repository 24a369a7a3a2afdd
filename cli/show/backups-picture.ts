import type { CatalogAnswer } from '#core/catalog-queries.ts';
import { encryptionWords } from '#core/chain-encryption.ts';
import type { Shredding } from '#core/wrapped-key.ts';
import { bar } from './bar.ts';
import { formatBytes } from './format-bytes.ts';
import { formatSpan } from './format-duration.ts';
import { formatTime } from './format-time.ts';
import { type Column, textTable } from './text-table.ts';

type Backups = CatalogAnswer<'backups'>;
type Backup = Backups['backups'][number];

const barWidth = 20;

/** A transition key is one backup's own, and no rotation. */
const masterKeys = ({ keyring }: Backup): readonly string[] =>
  (keyring?.keyIds ?? []).filter((id) => !id.startsWith('XBKey-'));

/** How many keys the keyring of a backup has, and how many of them are new since the backup before: that is a rotation. */
const keyringWords = (backup: Backup, before: Backup | undefined): string => {
  if (backup.keyring === undefined) return '';
  const keys = masterKeys(backup);
  const held = new Set(before && masterKeys(before));
  const fresh = before === undefined ? 0 : keys.filter((id) => !held.has(id)).length;
  return `${keys.length === 1 ? '1 key' : `${keys.length} keys`}${fresh === 0 ? '' : `, ${fresh} new`}`;
};

const shreddedWords = ({ at, by, reason }: Shredding): string =>
  `✗ cannot be restored: its keys were shredded ${formatTime(at)} by ${by}${reason ? ` (${reason})` : ''}`;

/** Every chain of a cluster: its backups in order, what each holds, and how large it is beside the largest. */
export const backupsPicture = ({ chains, backups }: Backups): string =>
  chains
    .map((chain) => {
      const line = backups.filter((backup) => backup.chain === chain.chain).toSorted((a, b) => a.seq - b.seq);
      const stored = line.reduce((sum, { storedBytes }) => sum + storedBytes, 0);
      const largest = Math.max(1, ...line.map(({ storedBytes }) => storedBytes));
      const columns: readonly Column<Backup>[] = [
        {
          title: '  backup',
          of: ({ seq, backup }) => `${seq === 0 ? '●' : seq === line.at(-1)?.seq ? '└' : '├'} ${backup}`,
        },
        { title: 'taken (UTC)', of: ({ startedAt }) => formatTime(startedAt) },
        { title: 'took', of: ({ startedAt, endedAt }) => formatSpan(startedAt, endedAt), right: true },
        { title: 'from LSN', of: ({ fromLsn }) => String(fromLsn), right: true },
        { title: 'to LSN', of: ({ toLsn }) => String(toLsn), right: true },
        { title: 'stored', of: ({ storedBytes }) => formatBytes(storedBytes), right: true },
        ...(line.some(({ keyring }) => keyring !== undefined)
          ? [{ title: 'keyring', of: (each: Backup) => keyringWords(each, line[line.indexOf(each) - 1]) }]
          : []),
        { title: '', of: ({ storedBytes }) => bar(storedBytes / largest, barWidth) },
      ];
      const count = line.length === 1 ? '1 backup' : `${line.length} backups`;
      return [
        `chain ${chain.chain}: ${count}, ${formatBytes(stored)}, from ${chain.host}`,
        `begun because ${chain.reason}`,
        ...(encryptionWords(chain.encryption) ? [`encryption: ${encryptionWords(chain.encryption)}`] : []),
        ...(chain.shredded ? [shreddedWords(chain.shredded)] : []),
        textTable(columns, line),
      ].join('\n');
    })
    .join('\n\n');

import { readFileSync } from 'node:fs';
import { toolVersion } from '../tool-version.ts';

export interface Metadata {
  readonly type: string;
  readonly fromLsn: bigint;
  readonly toLsn: bigint;
  readonly lastLsn: bigint;
}

export const CHECKPOINTS = 'xtrabackup_checkpoints';

export const encodeMetadata = ({ type, fromLsn, toLsn, lastLsn }: Metadata): string => {
  const version = toolVersion();
  const tail = version.modern
    ? `flushed_lsn = 0\nredo_memory = 0\nredo_frames = 0\n`
    : `compact = 0\nrecover_binlog_info = 0\n${version.atLeast('2.4.20') ? `flushed_lsn = ${toLsn}\n` : ''}`;
  return `backup_type = ${type}\nfrom_lsn = ${fromLsn}\nto_lsn = ${toLsn}\nlast_lsn = ${lastLsn}\n${tail}`;
};

/** `undefined` where the file cannot be read or lacks one of the four. */
export const readMetadata = (path: string): Metadata | undefined => {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
  const value = (name: string): string | undefined => new RegExp(`^${name} = (\\S+)$`, 'm').exec(text)?.[1];
  const [type, fromLsn, toLsn, lastLsn] = ['backup_type', 'from_lsn', 'to_lsn', 'last_lsn'].map(value);
  if (type === undefined || fromLsn === undefined || toLsn === undefined || lastLsn === undefined) return undefined;
  return { type, fromLsn: BigInt(fromLsn), toLsn: BigInt(toLsn), lastLsn: BigInt(lastLsn) };
};

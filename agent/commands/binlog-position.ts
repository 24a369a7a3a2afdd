import type { BinlogPosition } from '#core/manifest.ts';

/**
 * `file<TAB>position[<TAB>GTID set]`, as the engines leave it in `xtrabackup_binlog_info` (`mariadb_backup_binlog_info`). A GTID
 * set of several servers may stand on several lines. `undefined` where there is no such line: the server writes no binary log.
 */
export const parseBinlogPosition = (text: string | undefined): BinlogPosition | undefined => {
  const match = /^([^\t\n]+)\t(\d+)(?:\t([\s\S]*))?$/.exec(text?.trim() ?? '');
  if (match === null) return undefined;
  const gtid = (match[3] ?? '').replaceAll(/\s+/g, '');
  return { file: match[1] as string, position: match[2] as string, ...(gtid === '' ? {} : { gtid }) };
};

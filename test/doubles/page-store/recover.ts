import { INFO_AT, isInfo, unwrapKey } from './encryption-info.ts';
import { pageLsn, setPageLsn, type TablespaceKey } from './page.ts';
import type { RedoRecord } from './redo-record.ts';
import type { Scan } from './scan-redo.ts';
import type { Tablespaces } from './tablespaces.ts';

type Write = Extract<RedoRecord, { kind: 'write' }>;

export interface RecoveryEvents {
  /** A tablespace to be deleted is not there. */
  nothingToDelete(space: number): void;
  /** A tablespace key in the redo cannot be opened. What is there is not applied any more. */
  corruptRecord(space: number, before: number): void;
  /** A page is newer than all redo. */
  futurePage(space: number, page: number, lsn: number): void;
  /** Redo for a file that is there but cannot be decrypted; asked once per space. */
  closedFile(path: string): void;
}

interface PendingWrite {
  readonly start: number;
  readonly end: number;
  readonly write: Write;
}

export type Recovery =
  | { readonly kind: 'applied'; readonly pages: number }
  | { readonly kind: 'corrupt'; readonly upTo: number };

const applyTo = (page: Buffer, writes: readonly PendingWrite[]): boolean => {
  const was = pageLsn(page);
  const wanted = writes.filter(({ start }) => start >= was);
  for (const { write } of wanted) write.data.copy(page, write.offset);
  const last = wanted.at(-1);
  if (last) setPageLsn(page, last.end);
  return last !== undefined;
};

/**
 * Applies scanned redo to the files as InnoDB does: a page takes what is newer than itself; spaces that are absent or cannot be
 * decrypted are passed over.
 */
export const recover = (tablespaces: Tablespaces, scan: Scan, events: RecoveryEvents): Recovery => {
  const pending = new Map<number, Map<number, PendingWrite[]>>();
  const keys = new Map<number, TablespaceKey>();
  const asked = new Set<number>();
  for (const { records, start, end } of scan.groups) {
    for (const record of records) {
      if (record.kind === 'create') tablespaces.recreate(`${record.name}.ibd`, record.space, record.flags);
      else if (record.kind === 'rename') tablespaces.rename(record.space, `${record.to}.ibd`);
      else if (record.kind === 'delete') {
        if (!tablespaces.delete(record.space)) events.nothingToDelete(record.space);
        pending.delete(record.space);
      } else if (record.kind === 'write') {
        if (record.offset === INFO_AT && record.page === 0 && isInfo(record.data)) {
          const unwrapped = unwrapKey(record.data, tablespaces.masters, record.space);
          if (unwrapped.kind !== 'key') {
            events.corruptRecord(record.space, start);
            return { kind: 'corrupt', upTo: start };
          }
          keys.set(record.space, unwrapped.key);
        }
        const closed = tablespaces.closedPath(record.space);
        if (closed !== undefined && !asked.has(record.space)) {
          asked.add(record.space);
          events.closedFile(closed);
        }
        const pages = pending.get(record.space) ?? new Map<number, PendingWrite[]>();
        pending.set(record.space, pages);
        const writes = pages.get(record.page) ?? [];
        pages.set(record.page, writes);
        writes.push({ start, end, write: record });
      }
    }
  }
  let pages = 0;
  for (const [space, byPage] of pending) {
    const tablespace = tablespaces.get(space);
    if (!tablespace) continue;
    const key = keys.get(space);
    if (key) tablespace.useKey(key);
    for (const [number, writes] of byPage) {
      const page = tablespace.read(number);
      if (pageLsn(page) > scan.scannedTo) events.futurePage(space, number, pageLsn(page));
      if (!applyTo(page, writes)) continue;
      tablespace.write(number, page);
      pages += 1;
    }
  }
  return { kind: 'applied', pages };
};

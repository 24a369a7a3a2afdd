import type { Parent } from './agent-protocol.ts';
import type { Lsn } from './lsn.ts';
import type { Canary } from './manifest.ts';
import { identityDifference, type ServerIdentity } from './server-identity.ts';

/** What the host sees of the server before it takes an increment. */
export interface DescentFacts {
  readonly identity: ServerIdentity;
  readonly engineSeries: string;
  readonly lsn: Lsn;
  /** The canary row named after the parent, if the server still has it. */
  readonly canary: Canary | 'absent';
  /**
   * Only for a server that is read-only and so holds no canary of its own: whether the parent's GTID set is contained in the
   * server's.
   */
  readonly gtidContained?: boolean;
}

export type Descent =
  | { readonly kind: 'descends' }
  | { readonly kind: 'refused'; readonly code: 'ServerChanged' | 'ChainBroken'; readonly detail: string };

const refused = (code: 'ServerChanged' | 'ChainBroken', detail: string): Descent => ({ kind: 'refused', code, detail });

/**
 * Whether the server is the one its parent backup was taken of, later in the same history. Identity is not enough: a server
 * rolled back by a disk snapshot keeps its uuid and passes the old LSN again with another history; the canary shows it.
 */
export const judgeDescent = (parent: Parent, facts: DescentFacts): Descent => {
  const difference = identityDifference(parent.identity, facts.identity);
  if (difference) return refused('ServerChanged', difference);
  if (parent.engineSeries !== facts.engineSeries)
    return refused('ServerChanged', `the engine's series was ${parent.engineSeries}, is ${facts.engineSeries}`);
  // The engine accepts an LSN of the future and makes an increment that can never be applied.
  if (facts.lsn < parent.toLsn)
    return refused('ChainBroken', `the server is at LSN ${facts.lsn}, behind ${parent.toLsn} of ${parent.backup}`);
  if (parent.canary) {
    if (facts.canary === 'absent')
      return refused('ChainBroken', `the canary of ${parent.backup} is gone from the server`);
    if (facts.canary.backup !== parent.canary.backup || facts.canary.writtenAt !== parent.canary.writtenAt)
      return refused('ChainBroken', `the canary of ${parent.backup} is not the one that was written`);
    return { kind: 'descends' };
  }
  if (facts.gtidContained) return { kind: 'descends' };
  return refused('ChainBroken', `${parent.backup} left no canary, and its GTID set is not contained in the server's`);
};

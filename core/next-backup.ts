import type { ChainHead } from './catalog-records.ts';
import { encryptionDifference, encryptionOfConfig } from './chain-encryption.ts';
import { type ClusterConfig, type HostConfig, LONGEST_CHAIN, type Policy } from './cluster-config.ts';
import type { ErrorCode } from './errors.ts';

export type RequestedKind = 'auto' | 'full' | 'incremental';

/** Why a backup is of its kind; stored with the run, the chain and the manifest. */
export type BackupReason =
  | 'asked-for'
  | 'no-chain'
  | 'chain-too-old'
  | 'chain-too-long'
  | 'increments-too-big'
  | 'host-left'
  | 'engine-changed'
  | 'server-changed'
  | 'chain-broken'
  | 'keyring-changed'
  | 'keys-shredded'
  | 'encryption-changed'
  | 'tablespace-encryption-changed'
  | 'chain-continues';

export type NextBackup =
  | { readonly kind: 'full'; readonly host: HostConfig; readonly code: BackupReason; readonly reason: string }
  | {
      readonly kind: 'incremental';
      readonly host: HostConfig;
      readonly head: ChainHead;
      readonly code: 'chain-continues';
      readonly reason: string;
    };

export interface NextBackupFacts {
  readonly config: ClusterConfig;
  readonly head: ChainHead | undefined;
  readonly requested: RequestedKind;
  readonly now: Date;
  /** The named error with which the host refused an increment earlier in this run. */
  readonly refusal?: { readonly code: ErrorCode; readonly detail: string };
  /** What the operator wrote beside the request. */
  readonly note?: string;
}

const DAY = 24 * 60 * 60 * 1000;

const refusalReasons: Partial<Record<ErrorCode, BackupReason>> = {
  ServerChanged: 'server-changed',
  ChainBroken: 'chain-broken',
  KeyringChanged: 'keyring-changed',
};

/** The first limit of the policy that the chain has reached. */
const policyLimit = (
  policy: Pick<Policy, 'fullEveryDays' | 'maxIncrements' | 'maxIncrementsRatio'>,
  head: ChainHead,
  now: Date,
): { readonly code: BackupReason; readonly reason: string } | undefined => {
  const ageDays = (now.getTime() - Date.parse(head.chainStartedAt)) / DAY;
  if (ageDays >= policy.fullEveryDays)
    return {
      code: 'chain-too-old',
      reason: `the chain is ${ageDays.toFixed(1)} days old, the policy allows ${policy.fullEveryDays}`,
    };
  if (head.tip.seq >= policy.maxIncrements)
    return {
      code: 'chain-too-long',
      reason: `the chain has ${head.tip.seq} increments, the policy allows ${policy.maxIncrements}`,
    };
  if (head.incrementBytes > head.fullBytes * policy.maxIncrementsRatio)
    return {
      code: 'increments-too-big',
      reason: `the increments hold ${head.incrementBytes} bytes, the policy allows ${policy.maxIncrementsRatio} times the full of ${head.fullBytes}`,
    };
  return undefined;
};

/**
 * Full or increment, on which host, and why. `incremental` asks for an increment although the policy would take a full;
 * where none is possible, a full is taken all the same, because a backup that was not taken is worse than a large one. What only the host can know
 * (identity, LSN, canary, keyring) it checks itself (`descent.ts`) and refuses by name; that refusal comes back as `refusal`.
 */
export const nextBackup = (facts: NextBackupFacts): NextBackup => {
  const { config, head, now, refusal } = facts;
  const first = config.hosts[0] as HostConfig;
  const full = (code: BackupReason, reason: string, host = first): NextBackup => ({
    kind: 'full',
    host,
    code,
    reason: facts.note ? `${reason} (${facts.note})` : reason,
  });
  if (refusal) {
    const host = config.hosts.find((candidate) => candidate.instance === head?.host) ?? first;
    return full(refusalReasons[refusal.code] ?? 'chain-broken', `${refusal.code}: ${refusal.detail}`, host);
  }
  if (facts.requested === 'full') return full('asked-for', 'a full was asked for');
  if (!head) return full('no-chain', 'the cluster has no chain yet');
  if (head.shredded) return full('keys-shredded', `the keys of chain ${head.chain} were shredded`);
  const host = config.hosts.find((candidate) => candidate.instance === head.host);
  if (!host)
    return full('host-left', `${head.host}, which the chain was taken from, is no longer a host of the cluster`);
  if (head.engine !== config.engine)
    return full('engine-changed', `the chain was taken with ${head.engine}, the cluster now uses ${config.engine}`);
  const other = encryptionDifference(head.encryption, encryptionOfConfig(config));
  if (other)
    return full(other.code, `the chain was taken with ${other.was}, the cluster file now says ${other.is}`, host);
  // Asked for by name, an increment goes beyond the policy, but not beyond what a restore can plan.
  const policy =
    facts.requested === 'incremental'
      ? {
          fullEveryDays: Number.POSITIVE_INFINITY,
          maxIncrements: LONGEST_CHAIN,
          maxIncrementsRatio: Number.POSITIVE_INFINITY,
        }
      : config.policy;
  const limit = policyLimit(policy, head, now);
  if (limit) return full(limit.code, limit.reason);
  const continues = `continues after ${head.tip.backup}`;
  return {
    kind: 'incremental',
    host,
    head,
    code: 'chain-continues',
    reason: facts.note ? `${continues} (${facts.note})` : continues,
  };
};

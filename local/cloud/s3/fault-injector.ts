import { Transform } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';

/** What goes wrong with the requests that a rule is about. */
export type Fault =
  | { readonly kind: 'slow-down' }
  | { readonly kind: 'error'; readonly status: number; readonly code: string }
  | { readonly kind: 'delay'; readonly milliseconds: number }
  /** Both directions of the body. */
  | { readonly kind: 'throttle'; readonly bytesPerSecond: number }
  /** Cuts the connection once so many bytes of the body (up or down) have passed. */
  | { readonly kind: 'reset'; readonly afterBytes?: number }
  /** Does what was asked and cuts the connection instead of answering. */
  | { readonly kind: 'lose-answer' };

export interface FaultRule {
  /** API names, such as `UploadPart`; any when absent. */
  readonly operations?: readonly string[];
  /** A regular expression that the key must match. */
  readonly key?: string;
  /** A regular expression that the caller's ARN must match. */
  readonly caller?: string;
  /** So many matching requests pass first. */
  readonly skip?: number;
  /** Then so many are hit; all when absent. */
  readonly times?: number;
  readonly fault: Fault;
}

export interface FaultedRequest {
  readonly operation: string;
  readonly key: string;
  readonly caller: string;
}

/** Faults for tests, by rules; each rule counts the requests that it matched. */
export class FaultInjector {
  #rules: { readonly rule: FaultRule; seen: number }[] = [];

  /** Replaces all rules and starts their counts at zero. */
  set(rules: readonly FaultRule[]): void {
    this.#rules = rules.map((rule) => ({ rule, seen: 0 }));
  }

  /** The rules with how many requests each has matched, those that it let pass among them. */
  get rules(): readonly (FaultRule & { readonly seen: number })[] {
    return this.#rules.map(({ rule, seen }) => ({ ...rule, seen }));
  }

  /** Counts a request and answers what is to go wrong with it, in the order of the rules. */
  faultsFor({ operation, key, caller }: FaultedRequest): readonly Fault[] {
    return this.#rules.flatMap((entry) => {
      const { rule } = entry;
      const matches =
        (rule.operations?.includes(operation) ?? true) &&
        (rule.key === undefined || new RegExp(rule.key).test(key)) &&
        (rule.caller === undefined || new RegExp(rule.caller).test(caller));
      if (!matches) return [];
      const position = entry.seen++ - (rule.skip ?? 0);
      return position >= 0 && position < (rule.times ?? Number.POSITIVE_INFINITY) ? [rule.fault] : [];
    });
  }
}

/** A body on its way, slowed or cut as the faults want it; undefined when none of them is about bodies. */
export const impede = (faults: readonly Fault[], cut: () => void): Transform | undefined => {
  const bytesPerSecond = faults.find((fault) => fault.kind === 'throttle')?.bytesPerSecond;
  const afterBytes = faults.find((fault) => fault.kind === 'reset')?.afterBytes;
  if (bytesPerSecond === undefined && afterBytes === undefined) return undefined;
  let passed = 0;
  return new Transform({
    async transform(chunk: Buffer, _encoding, done) {
      passed += chunk.length;
      if (bytesPerSecond !== undefined) await sleep((chunk.length / bytesPerSecond) * 1000);
      if (afterBytes !== undefined && passed > afterBytes) {
        cut();
        return done(new Error('The connection was cut by a fault.'));
      }
      done(null, chunk);
    },
  });
};

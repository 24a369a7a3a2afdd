import type { ServerIdentity } from '#core/server-identity.ts';

interface MariadbGtid {
  readonly domain: string;
  readonly server: string;
  readonly sequence: bigint;
}

const mariadbGtids = (list: string): readonly MariadbGtid[] =>
  list
    .split(',')
    .map((gtid) => /^\s*(\d+)-(\d+)-(\d+)\s*$/.exec(gtid))
    .flatMap((match) =>
      match?.[1] && match[2] && match[3] ? [{ domain: match[1], server: match[2], sequence: BigInt(match[3]) }] : [],
    );

const mariadbContains = (set: string, part: string): boolean => {
  const [state = '', position = ''] = set.split('|');
  const logged = mariadbGtids(state);
  const applied = mariadbGtids(position);
  const wanted = mariadbGtids(part);
  return (
    wanted.length > 0 &&
    wanted.every(
      (gtid) =>
        logged.some(
          ({ domain, server, sequence }) =>
            domain === gtid.domain && server === gtid.server && sequence >= gtid.sequence,
        ) || applied.some(({ domain, sequence }) => domain === gtid.domain && sequence >= gtid.sequence),
    )
  );
};

type Interval = readonly [bigint, bigint];

/** By source (a uuid, or `uuid:tag`), the intervals of a MySQL GTID set. */
const mysqlIntervals = (set: string): ReadonlyMap<string, readonly Interval[]> => {
  const sources = new Map<string, Interval[]>();
  for (const member of set.split(',')) {
    const [uuid, ...rest] = member.trim().split(':');
    let source = uuid?.toLowerCase() ?? '';
    for (const piece of rest) {
      const match = /^\s*(\d+)(?:-(\d+))?\s*$/.exec(piece);
      if (!match?.[1]) source = `${uuid?.toLowerCase()}:${piece.trim().toLowerCase()}`;
      else {
        const intervals = sources.get(source) ?? [];
        intervals.push([BigInt(match[1]), BigInt(match[2] ?? match[1])]);
        sources.set(source, intervals);
      }
    }
  }
  return sources;
};

const mysqlContains = (set: string, part: string): boolean => {
  const have = mysqlIntervals(set);
  const wanted = [...mysqlIntervals(part)];
  return (
    wanted.length > 0 &&
    wanted.every(([source, intervals]) =>
      // The server prints intervals merged: what is contained lies within one of them.
      intervals.every(([from, to]) => have.get(source)?.some(([first, last]) => first <= from && to <= last) ?? false),
    )
  );
};

/**
 * Whether everything in `part`, the GTID set of a backup, was executed by a server whose facts say `set`. An empty part proves
 * nothing and is not contained.
 */
export const gtidContained = (flavour: ServerIdentity['flavour'], set: string, part: string): boolean =>
  flavour === 'mariadb' ? mariadbContains(set, part) : mysqlContains(set, part);

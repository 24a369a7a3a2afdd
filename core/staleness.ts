import type { Policy } from './cluster-config.ts';

const HOUR = 60 * 60 * 1000;

const unitHours = { minute: 1 / 60, hour: 1, day: 24 } as const;

/** A cron expression that leaves no day out. */
const EVERY_DAY = /^cron\(\S+ \S+ [*?] \* [*?] \*\)$/;

/** Hours from one backup to the next, as the schedule has it; where it does not say, the days after which a full is due. */
const hoursBetween = ({ schedule = '', fullEveryDays }: Pick<Policy, 'schedule' | 'fullEveryDays'>): number => {
  const [, count, unit] = /^rate\((\d+) (minute|hour|day)s?\)$/.exec(schedule) ?? [];
  if (count !== undefined) return Number(count) * unitHours[unit as keyof typeof unitHours];
  return EVERY_DAY.test(schedule) ? unitHours.day : fullEveryDays * unitHours.day;
};

/** Hours without a backup after which somebody is told: one may be missed, and the next may take an hour. */
export const alertAfterHours = (policy: Pick<Policy, 'schedule' | 'fullEveryDays' | 'alertAfterHours'>): number =>
  policy.alertAfterHours ?? 2 * hoursBetween(policy) + 1;

/** Whether a cluster whose last backup was begun at `since`, or that was applied then and has none, has gone without for too long. */
export const isStale = (policy: Parameters<typeof alertAfterHours>[0], since: Date, now: Date): boolean =>
  now.getTime() - since.getTime() > alertAfterHours(policy) * HOUR;

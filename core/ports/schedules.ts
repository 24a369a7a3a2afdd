import type { ClusterId } from '../ids.ts';

export interface ScheduleOf {
  readonly cluster: ClusterId;
  /** `rate(…)`, `cron(…)` or `at(…)`. */
  readonly expression: string;
  readonly timezone: string;
}

/**
 * One schedule a cluster, which starts its backups. Every method throws `ServiceUnavailable` where the scheduler does not
 * answer.
 */
export interface Schedules {
  /** What its schedule is called, whether it is there or not. */
  nameOf(cluster: ClusterId): string;
  /** Creates or replaces it; its name. Throws `InvalidClusterFile` where the scheduler does not accept it. */
  put(schedule: ScheduleOf): Promise<string>;
  /** None there is fine. */
  remove(cluster: ClusterId): Promise<void>;
}

import type { ScheduleOf, Schedules } from '#core/ports/schedules.ts';

export interface FakeSchedules extends Schedules {
  readonly schedules: Map<string, ScheduleOf>;
}

export const fakeSchedules = (): FakeSchedules => {
  const schedules = new Map<string, ScheduleOf>();
  const nameOf = (cluster: string) => `redoubt-${cluster}`;
  return {
    schedules,
    nameOf,
    put: async (schedule) => {
      schedules.set(nameOf(schedule.cluster), schedule);
      return nameOf(schedule.cluster);
    },
    remove: async (cluster) => {
      schedules.delete(nameOf(cluster));
    },
  };
};

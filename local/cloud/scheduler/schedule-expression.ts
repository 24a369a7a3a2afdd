import { Cron } from 'croner';

/** When a schedule fires. */
export interface ScheduleExpression {
  /** Once, or again and again. */
  readonly recurring: boolean;
  /**
   * The first time at or after `from` (milliseconds since 1970), undefined when there is none. A rate counts from `anchor`:
   * the schedule's start.
   */
  next(from: number, anchor: number): number | undefined;
}

export class InvalidScheduleExpression extends Error {
  override readonly name = 'InvalidScheduleExpression';
}

const unitMilliseconds: Readonly<Record<string, number>> = { minute: 60_000, hour: 3_600_000, day: 86_400_000 };

const fieldNames = ['minutes', 'hours', 'day of month', 'month', 'day of week', 'year'];

/**
 * Reads `rate(…)`, `cron(…)` with six fields, or `at(…)` (EventBridge Scheduler User Guide, "Schedule types"). Throws
 * InvalidScheduleExpression. Cron and at are read in the time zone; a rate has none.
 */
export const parseScheduleExpression = (expression: string, timeZone: string): ScheduleExpression => {
  const match = /^(?<kind>rate|cron|at)\((?<body>.*)\)$/.exec(expression.trim());
  const body = match?.groups?.body?.trim() ?? '';
  switch (match?.groups?.kind) {
    case 'rate':
      return rate(body, expression);
    case 'cron':
      return cron(body, expression, timeZone);
    case 'at':
      return at(body, expression, timeZone);
    default:
      throw new InvalidScheduleExpression(`Invalid Schedule Expression ${expression}.`);
  }
};

const rate = (body: string, expression: string): ScheduleExpression => {
  const match = /^(?<value>[1-9]\d*) (?<unit>minute|hour|day)s?$/.exec(body);
  const milliseconds = Number(match?.groups?.value) * (unitMilliseconds[match?.groups?.unit ?? ''] ?? Number.NaN);
  if (Number.isNaN(milliseconds)) {
    throw new InvalidScheduleExpression(
      `Invalid Schedule Expression ${expression}. A rate is a positive number of minutes, hours or days.`,
    );
  }
  return {
    recurring: true,
    next: (from, anchor) => anchor + Math.max(0, Math.ceil((from - anchor) / milliseconds)) * milliseconds,
  };
};

const cron = (body: string, expression: string, timezone: string): ScheduleExpression => {
  const fields = body.split(/\s+/);
  const [minute, hour, dayOfMonth, month, dayOfWeek, year] = fields;
  if (fields.length !== fieldNames.length) {
    throw new InvalidScheduleExpression(
      `Invalid Schedule Expression ${expression}. It needs ${fieldNames.join(', ')}.`,
    );
  }
  if ((dayOfMonth === '?') === (dayOfWeek === '?')) {
    throw new InvalidScheduleExpression(
      `Invalid Schedule Expression ${expression}. Exactly one of the day fields is ?.`,
    );
  }
  const weekday = dayOfWeek === '?' ? '*' : dayOfWeek === 'L' ? '7' : dayOfWeek?.replace(/^([1-7]|[A-Z]{3})L$/, '$1#L');
  const pattern = ['0', minute, hour, dayOfMonth === '?' ? '*' : dayOfMonth, month, weekday, year].join(' ');
  let job: Cron;
  try {
    // AWS counts weekdays from Sunday = 1, which croner calls alternative.
    job = new Cron(pattern, { timezone, mode: '7-part', alternativeWeekdays: true, sloppyRanges: true, paused: true });
  } catch (error) {
    throw new InvalidScheduleExpression(`Invalid Schedule Expression ${expression}. ${(error as Error).message}`);
  }
  return { recurring: true, next: (from) => job.nextRun(new Date(from - 1))?.getTime() };
};

const at = (body: string, expression: string, timezone: string): ScheduleExpression => {
  if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d$/.test(body)) {
    throw new InvalidScheduleExpression(`Invalid Schedule Expression ${expression}. A time is yyyy-mm-ddThh:mm:ss.`);
  }
  const time = localTime(body, timezone);
  return { recurring: false, next: (from) => (time >= from ? time : undefined) };
};

/** The instant of a wall clock time in a time zone. */
const localTime = (text: string, timeZone: string): number => {
  const wanted = Date.parse(`${text}Z`);
  if (Number.isNaN(wanted)) {
    throw new InvalidScheduleExpression(`${text} is not a time.`);
  }
  const format = new Intl.DateTimeFormat('en-US', {
    timeZone,
    hourCycle: 'h23',
    year: 'numeric',
    month: '2-digit',
    day: '2-digit',
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
  });
  const offsetAt = (instant: number) => {
    const part = Object.fromEntries(format.formatToParts(instant).map(({ type, value }) => [type, value]));
    return (
      Date.parse(`${part.year}-${part.month}-${part.day}T${part.hour}:${part.minute}:${part.second}Z`) -
      Math.floor(instant / 1000) * 1000
    );
  };
  // The offset near a change of the clock is that of the instant found, not of the first guess.
  const guess = wanted - offsetAt(wanted);
  return wanted - offsetAt(guess);
};

import type { Progress } from '#core/agent-protocol.ts';
import { bar } from './bar.ts';
import { formatBytes } from './format-bytes.ts';
import { formatDuration } from './format-duration.ts';

const barWidth = 24;
/** Of the longest phase with its step, and two blanks. */
const headWidth = 'handing-over 12/12'.length + 2;

/** The speed between two looks at the same phase; `undefined` while there is nothing to compare. */
const bytesPerSecond = (earlier: Progress | undefined, now: Progress): number | undefined => {
  if (earlier === undefined || earlier.phase !== now.phase || earlier.step !== now.step) return undefined;
  const seconds = (Date.parse(now.at) - Date.parse(earlier.at)) / 1000;
  return seconds > 0 && now.bytes > earlier.bytes ? (now.bytes - earlier.bytes) / seconds : undefined;
};

/**
 * `copying  ████▌      19 %  61.2 MiB of about 320 MiB  51.0 MiB/s  5.1 s left`. `earlier` is an earlier look at the same run:
 * the speed is the mean since then.
 */
export const progressLine = (now: Progress, earlier?: Progress): string => {
  const step = now.step === undefined ? '' : ` ${now.step}/${now.steps ?? '?'}`;
  const head = `${now.phase}${step}`.padEnd(headWidth);
  if (now.bytes === 0) return head.trimEnd();
  const speed = bytesPerSecond(earlier, now);
  const shownSpeed = speed === undefined ? '' : `  ${formatBytes(speed)}/s`;
  // More than was expected: the expectation says nothing any more.
  if (now.bytes >= now.expectedBytes) return `${head}${formatBytes(now.bytes)}${shownSpeed}`;
  const fraction = now.bytes / now.expectedBytes;
  const left = speed === undefined ? '' : `  ${formatDuration((now.expectedBytes - now.bytes) / speed)} left`;
  const percent = `${Math.floor(fraction * 100)} %`.padStart(4);
  const done = `${formatBytes(now.bytes)} of about ${formatBytes(now.expectedBytes)}`;
  return `${head}${bar(fraction, barWidth).padEnd(barWidth, '·')} ${percent}  ${done}${shownSpeed}${left}`;
};

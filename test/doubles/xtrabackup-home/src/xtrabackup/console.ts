import { toolVersion } from '../tool-version.ts';
import { writeAll } from '../write-all.ts';

const version = toolVersion();
const two = (value: number): string => String(value).padStart(2, '0');

/** `261122 04:12:00`. */
const shortTime = (now: Date): string =>
  `${two(now.getFullYear() % 100)}${two(now.getMonth() + 1)}${two(now.getDate())} ${two(now.getHours())}:${two(now.getMinutes())}:${two(now.getSeconds())}`;

const longTime = (now: Date): string => {
  const offset = -now.getTimezoneOffset();
  const sign = offset < 0 ? '-' : '+';
  const local = new Date(now.getTime() + offset * 60_000).toISOString().slice(0, -1);
  return `${local}000${sign}${two(Math.floor(Math.abs(offset) / 60))}:${two(Math.abs(offset) % 60)}`;
};

/** 8.0.28-20 gave every line the server's form (PXB-2670). */
const structured = version.atLeast('8.0.28');

const raw = (text: string): void => writeAll(2, Buffer.from(`${text}\n`));

const line = (subsystem: string, text: string, thread = 0): void => {
  const level = /error|fatal|failed|can't|cannot/i.test(text) ? 'ERROR' : /^warning/i.test(text) ? 'Warning' : 'Note';
  raw(`${longTime(new Date())} ${thread} [${level}] [MY-011825] [${subsystem}] ${text}`);
};

/** What goes to standard error, in the form of the version that is modelled. */
export const tell = {
  /** As it stands, in every version. */
  raw,
  /** With the time in front. */
  timed: (text: string): void => (structured ? line('Xtrabackup', text) : raw(`${shortTime(new Date())} ${text}`)),
  /** Of a copying thread; 0 is the main one. */
  thread: (thread: number, text: string): void =>
    structured ? line('Xtrabackup', text.trim(), thread) : raw(`${shortTime(new Date())} [${two(thread)}] ${text}`),
  /** `xtrabackup: …` */
  tool: (text: string): void => (structured ? line('Xtrabackup', text) : raw(`xtrabackup: ${text}`)),
  /** Without anything in front. */
  bare: (text: string): void => (structured ? line('Xtrabackup', text) : raw(text)),
  innodb: (text: string): void => (structured ? line('InnoDB', text) : raw(`InnoDB: ${text}`)),
  /** The line that follows a dot, where the log copying thread stops. */
  glued: (text: string): void => (structured ? line('Xtrabackup', text) : raw(`.${shortTime(new Date())} ${text}\n`)),
};

/** The program ends with this code; what led to it was told already. */
export class Exit extends Error {
  readonly code: number;

  constructor(code: number) {
    super(`exit ${code}`);
    this.code = code;
  }
}

/** A crash as 2.4 shows it: an assertion or a signal, a stack, exit code 2. */
export const crash = (signal: 6 | 11): never => {
  if (signal === 6) {
    raw(
      `${new Date().toISOString().slice(0, 19).replace('T', ' ')} 0x7f7fe30c0740  InnoDB: Assertion failure in thread 140187246790464 in file ut0ut.cc line 916`,
    );
    raw('InnoDB: We intentionally generate a memory trap.');
  }
  raw(`${new Date().toISOString().slice(11, 19)} UTC - xtrabackup got signal ${signal} ;`);
  raw('This could be because you hit a bug or data is corrupted.');
  raw('This error can also be caused by malfunctioning hardware.');
  raw('Attempting to collect some information that could help diagnose the problem.');
  raw('As this is a crash and something is definitely wrong, the information\ncollection process might fail.\n');
  raw('Thread pointer: 0x0');
  raw('stack_bottom = 0 thread_stack 0x10000');
  raw('\nPlease report a bug at https://bugs.launchpad.net/percona-xtrabackup');
  throw new Exit(2);
};

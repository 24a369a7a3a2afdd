import type { Log, LogCode, LogFields } from '#core/ports/log.ts';

export interface RecordedLog extends Log {
  readonly lines: { readonly level: 'info' | 'warn' | 'error'; readonly code: LogCode; readonly fields: LogFields }[];
  codes(): readonly LogCode[];
}

export const recordedLog = (): RecordedLog => {
  const lines: RecordedLog['lines'] = [];
  const write = (level: 'info' | 'warn' | 'error') => (code: LogCode, fields: LogFields) => {
    lines.push({ level, code, fields });
  };
  return {
    lines,
    codes: () => lines.map(({ code }) => code),
    info: write('info'),
    warn: write('warn'),
    error: write('error'),
  };
};

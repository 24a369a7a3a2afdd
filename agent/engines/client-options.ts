import { RedoubtError } from '#core/errors.ts';

/**
 * A value as an option file takes it: in double quotes, with the escapes MySQL knows. Throws `InvalidInput` for what no option
 * file can hold.
 */
const quoted = (name: string, value: string): string => {
  if (/[\0\n\r]/.test(value))
    throw new RedoubtError('InvalidInput', `the ${name} has a line break or a zero byte in it`);
  return `"${value.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`;
};

const group = (name: string, options: Readonly<Record<string, string | undefined>>): string =>
  [
    `[${name}]`,
    ...Object.entries(options).flatMap(([option, value]) =>
      value === undefined ? [] : [`${option}=${quoted(option, value)}`],
    ),
    '',
  ].join('\n');

/** The text of a `[client]` group. */
export const clientOptions = (options: Readonly<Record<string, string | undefined>>): string =>
  group('client', options);

/** The text of an `[xtrabackup]` group. */
export const toolOptions = (options: Readonly<Record<string, string>>): string => group('xtrabackup', options);

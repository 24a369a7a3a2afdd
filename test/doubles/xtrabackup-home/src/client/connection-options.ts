import { userInfo } from 'node:os';
import { parseArgument, readOptionFile } from '../option-file.ts';
import type { ClientOptions } from '../wire/client.ts';

export interface ClientArguments {
  readonly connection: ClientOptions;
  /** Everything else, by long name; a switch is ''. */
  readonly options: ReadonlyMap<string, string>;
  readonly rest: readonly string[];
}

const SHORT: Readonly<Record<string, string>> = {
  u: 'user',
  S: 'socket',
  h: 'host',
  P: 'port',
  e: 'execute',
  p: 'password',
  D: 'database',
};
const SWITCHES: Readonly<Record<string, string>> = { N: 'skip-column-names', f: 'force', B: 'batch', s: 'silent' };
const GROUPS = ['client', 'mysql', 'mysqladmin'];

/** Reads the command line of `mysql` and `mysqladmin`, as far as the stand-in has them. */
export const clientArguments = (args: readonly string[]): ClientArguments => {
  const options = new Map<string, string>();
  const rest: string[] = [];
  for (let at = 0; at < args.length; at++) {
    const argument = args[at] as string;
    const long = parseArgument(argument);
    if (long?.name === 'defaults-file' || long?.name === 'defaults-extra-file')
      for (const { name, value } of readOptionFile(long.value ?? '', GROUPS)) options.set(name, value ?? '');
    else if (long) options.set(long.name, long.value ?? '');
    else if (argument.startsWith('-') && argument.length > 1) {
      const letter = argument[1] as string;
      const named = SHORT[letter];
      if (named === undefined) for (const one of argument.slice(1)) options.set(SWITCHES[one] ?? one, '');
      else if (argument.length > 2) options.set(named, argument.slice(2));
      else if (letter !== 'p') options.set(named, args[++at] ?? '');
    } else rest.push(argument);
  }
  const host = options.get('host');
  return {
    connection: {
      ...(host !== undefined && host !== 'localhost'
        ? { host, port: Number(options.get('port') ?? 3306) }
        : { socket: options.get('socket') ?? '/tmp/mysql.sock' }),
      user: options.get('user') ?? userInfo().username,
      password: options.get('password') ?? process.env.MYSQL_PWD ?? '',
    },
    options,
    rest,
  };
};

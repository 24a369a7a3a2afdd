import { readFileSync } from 'node:fs';
import { Client, ClientError } from '../wire/client.ts';
import { clientArguments } from './connection-options.ts';

/** Splits at semicolons outside of quotes. */
const statementsOf = (text: string): readonly string[] => {
  const statements: string[] = [];
  let current = '';
  let quote = '';
  for (let at = 0; at < text.length; at++) {
    const letter = text[at] as string;
    if (quote !== '') {
      if (letter === '\\' && quote !== '`') {
        current += letter + (text[++at] ?? '');
        continue;
      }
      if (letter === quote) quote = '';
    } else if (letter === "'" || letter === '"' || letter === '`') quote = letter;
    else if (letter === ';') {
      statements.push(current);
      current = '';
      continue;
    }
    current += letter;
  }
  return [...statements, current].filter((statement) => statement.trim() !== '');
};

const escaped = (value: string | null): string =>
  value === null
    ? 'NULL'
    : value.replaceAll('\\', '\\\\').replaceAll('\n', '\\n').replaceAll('\t', '\\t').replaceAll('\0', '\\0');

const { connection, options, rest } = clientArguments(process.argv.slice(2));
const say = (error: unknown, line?: number): void => {
  if (!(error instanceof ClientError)) throw error;
  process.stderr.write(
    `ERROR ${error.number} (${error.state})${line === undefined ? '' : ` at line ${line}`}: ${error.message}\n`,
  );
  process.exitCode = 1;
};

try {
  const client = await Client.connect(connection);
  const database = options.get('database') ?? rest[0];
  if (database !== undefined) await client.query(`USE \`${database}\``);
  for (const statement of statementsOf(options.get('execute') ?? readFileSync(0, 'utf8'))) {
    const vertical = /\\G\s*$/.test(statement);
    try {
      const { columns, rows } = await client.query(statement.replace(/\\[Gg]\s*$/, ''));
      if (vertical)
        for (const [index, row] of rows.entries())
          process.stdout.write(
            `*************************** ${index + 1}. row ***************************\n${columns.map((name) => `${name.padStart(12)}: ${row[name]}\n`).join('')}`,
          );
      else if (columns.length > 0) {
        if (!options.has('skip-column-names') && rows.length > 0) process.stdout.write(`${columns.join('\t')}\n`);
        for (const row of rows)
          process.stdout.write(`${columns.map((name) => escaped(row[name] ?? null)).join('\t')}\n`);
      }
    } catch (error) {
      say(error, 1);
      if (!options.has('force')) break;
    }
  }
  client.close();
} catch (error) {
  say(error);
}

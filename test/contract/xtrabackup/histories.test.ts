import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Lab } from './lab.ts';

// Whatever happens to a server between backups, each backup restores to what was there when it was taken.

type Step =
  | {
      readonly kind: 'insert' | 'update' | 'delete' | 'truncate' | 'drop' | 'encrypt' | 'decrypt';
      readonly table: number;
    }
  | { readonly kind: 'create'; readonly table: number; readonly encrypted: boolean }
  | { readonly kind: 'rotate' | 'flush' | 'dirty' | 'crash' | 'restart' | 'full' | 'increment' };

const table = fc.nat({ max: 3 });

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constantFrom('insert' as const, 'update' as const, 'delete' as const), table }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('create' as const), table, encrypted: fc.boolean() }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constantFrom('truncate' as const, 'drop' as const, 'encrypt' as const, 'decrypt' as const),
      table,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constantFrom(
        'rotate' as const,
        'flush' as const,
        'dirty' as const,
        'crash' as const,
        'restart' as const,
      ),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constantFrom('increment' as const, 'increment' as const, 'full' as const) }),
  },
);

interface Taken {
  readonly directories: readonly string[];
  readonly state: string;
}

const name = (number: number): string => `t${number}`;

const stateOf = async (server: Lab['server']): Promise<string> => {
  const tables = (await server.query('SHOW TABLES FROM app')).map((row) => `app.${Object.values(row)[0]}`);
  const rows = await Promise.all(tables.map((one) => server.query(`SELECT COUNT(*) AS n FROM ${one}`)));
  return JSON.stringify([await server.checksums(...tables), rows.map(([row]) => Number(row?.n))]);
};

/** Plays a history; what a statement may refuse (a table that is not there) is refused. */
const play = async (lab: Lab, steps: readonly Step[]): Promise<readonly Taken[]> => {
  const { server } = lab;
  const taken: Taken[] = [];
  let chain: readonly string[] = [];
  const sql: Readonly<Record<string, (number: number) => string>> = {
    insert: (number) =>
      `INSERT INTO app.${name(number)} (payload) SELECT CONCAT(payload, id) FROM app.plain ORDER BY id LIMIT ${20 + number * 40}`,
    update: (number) => `UPDATE app.${name(number)} SET payload = CONCAT('u', payload) WHERE id % 3 = 0`,
    delete: (number) => `DELETE FROM app.${name(number)} WHERE id % 4 = 1`,
    truncate: (number) => `TRUNCATE TABLE app.${name(number)}`,
    drop: (number) => `DROP TABLE app.${name(number)}`,
    encrypt: (number) => `ALTER TABLE app.${name(number)} ENCRYPTION='Y'`,
    decrypt: (number) => `ALTER TABLE app.${name(number)} ENCRYPTION='N'`,
  };
  for (const one of steps) {
    switch (one.kind) {
      case 'create':
        await server
          .query(
            `CREATE TABLE app.${name(one.table)} (id INT AUTO_INCREMENT PRIMARY KEY, payload VARCHAR(400)) ENCRYPTION='${one.encrypted ? 'Y' : 'N'}'`,
          )
          .catch(() => {});
        break;
      case 'rotate':
        await server.query('ALTER INSTANCE ROTATE INNODB MASTER KEY');
        break;
      case 'flush':
        await server.flush();
        break;
      case 'dirty':
        await server.stayDirty();
        break;
      case 'crash':
        await server.kill();
        await server.start();
        break;
      case 'restart':
        await server.stop();
        await server.start();
        break;
      case 'full':
      case 'increment': {
        const base = chain.at(-1);
        const directory = await lab.taken(
          one.kind === 'full' || base === undefined ? [] : [`--incremental-basedir=${base}`],
        );
        chain = one.kind === 'full' || base === undefined ? [directory] : [...chain, directory];
        taken.push({ directories: chain, state: await stateOf(server) });
        break;
      }
      default:
        await server.query((sql[one.kind] as (number: number) => string)(one.table)).catch(() => {});
    }
  }
  return taken;
};

describe('a random history', () => {
  it('restores exactly, from every backup of it', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 8, maxLength: 24, size: 'max' }), async (steps) => {
        const lab = await Lab.create();
        try {
          const taken = await play(lab, [{ kind: 'full' }, ...steps, { kind: 'increment' }]);
          // The last and one more, restored from copies: a chain is used up by its prepare.
          for (const { directories, state } of [taken.at(-1), taken[taken.length >> 1]].filter(
            (one) => one !== undefined,
          )) {
            const [base, ...increments] = directories.map((directory) => lab.copyOf(directory));
            await lab.prepared(base as string, increments);
            expect(await lab.restored(base as string, stateOf)).toBe(state);
          }
        } finally {
          await lab.close();
        }
      }),
      { numRuns: Number(process.env.REDOUBT_HISTORY_RUNS ?? 3), endOnFailure: true },
    );
  }, 600_000);
});

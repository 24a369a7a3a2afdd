import fc from 'fast-check';

/** What can happen to a server, its backups and their repository. Each step can be taken at any time; where it has no object, nothing happens. */
export type Step =
  | {
      readonly kind: 'rows';
      readonly change: 'insert' | 'update' | 'delete' | 'truncate';
      readonly table: number;
      readonly rows: number;
    }
  | {
      readonly kind: 'create';
      readonly table: number;
      readonly encrypted: boolean;
      readonly partitioned: boolean;
    }
  | {
      readonly kind: 'alter';
      readonly change: 'drop' | 'add-column' | 'encrypt' | 'decrypt' | 'rename';
      readonly table: number;
      readonly to: number;
    }
  | { readonly kind: 'server'; readonly does: 'flush' | 'stay-dirty' | 'restart' | 'crash' }
  | { readonly kind: 'rotate' | 'prune-keyring' | 'snapshot' | 'roll-back' | 'rebuild' | 'lose-catalog' }
  | { readonly kind: 'configure'; readonly mode: number; readonly transition: number }
  | {
      readonly kind: 'backup';
      readonly requested: 'auto' | 'full' | 'incremental';
      /** Whether rows are written while it is taken; or the disk is snapshot, and then rows are written, before the engine copies anything. */
      readonly meanwhile: 'nothing' | 'rows' | 'snapshot';
    }
  | {
      readonly kind: 'faulty-backup';
      readonly fault: 'agent-killed' | 'engine-killed' | 'server-killed' | 'repository-fails' | 'keyring-rotated';
      /** After how much of the work, in operations or in eighths of the stream that is usual. */
      readonly after: number;
      /** Whether the execution came to its last step. */
      readonly settled: boolean;
    }
  | {
      readonly kind: 'restore';
      readonly backup: number;
      readonly keyring: 'now' | 'gone';
      /** The first try's agent is killed after so many operations. */
      readonly killedAfter: number | undefined;
    }
  | { readonly kind: 'restore-in-place'; readonly backup: number }
  | {
      readonly kind: 'tamper';
      readonly backup: number;
      readonly object: number;
      readonly harm: 'flip' | 'cut' | 'remove' | 'swap';
    };

const TABLES = 4;
const table = fc.nat({ max: TABLES - 1 });
/** Counted from the newest: small ones are the likely ones. */
const backup = fc.nat({ max: 7 });

const is = <const Kind extends string, Shape extends object>(
  kind: Kind,
  shape: { [Name in keyof Shape]: fc.Arbitrary<Shape[Name]> },
): fc.Arbitrary<{ kind: Kind } & Shape> =>
  fc.record({ kind: fc.constant(kind), ...shape }, { noNullPrototype: true }) as never;

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 10,
    arbitrary: is('rows', {
      change: fc.constantFrom('insert', 'insert', 'insert', 'update', 'update', 'delete', 'truncate'),
      table,
      rows: fc.integer({ min: 1, max: 150 }),
    }),
  },
  { weight: 3, arbitrary: is('create', { table, encrypted: fc.boolean(), partitioned: fc.boolean() }) },
  {
    weight: 5,
    arbitrary: is('alter', {
      change: fc.constantFrom('drop', 'add-column', 'encrypt', 'encrypt', 'decrypt', 'rename'),
      table,
      to: table,
    }),
  },
  { weight: 4, arbitrary: is('server', { does: fc.constantFrom('flush', 'stay-dirty', 'restart', 'crash') }) },
  { weight: 3, arbitrary: is('rotate', {}) },
  {
    weight: 6,
    arbitrary: is('backup', {
      requested: fc.constantFrom('auto', 'auto', 'auto', 'full', 'incremental'),
      meanwhile: fc.constantFrom('nothing', 'nothing', 'rows', 'rows', 'snapshot'),
    }),
  },
  {
    weight: 3,
    arbitrary: is('faulty-backup', {
      fault: fc.constantFrom('agent-killed', 'engine-killed', 'server-killed', 'repository-fails', 'keyring-rotated'),
      after: fc.nat({ max: 16 }),
      settled: fc.boolean(),
    }),
  },
  {
    weight: 2,
    arbitrary: is('restore', {
      backup,
      keyring: fc.constantFrom('now', 'gone'),
      killedAfter: fc.option(fc.nat({ max: 24 }), { nil: undefined }),
    }),
  },
  { weight: 1, arbitrary: is('restore-in-place', { backup }) },
  {
    weight: 1,
    arbitrary: is('tamper', {
      backup,
      object: fc.nat({ max: 7 }),
      harm: fc.constantFrom('flip', 'cut', 'remove', 'swap'),
    }),
  },
  { weight: 1, arbitrary: is('prune-keyring', {}) },
  { weight: 1, arbitrary: is('snapshot', {}) },
  { weight: 1, arbitrary: is('roll-back', {}) },
  { weight: 1, arbitrary: fc.oneof(is('rebuild', {}), is('lose-catalog', {})) },
  { weight: 1, arbitrary: is('configure', { mode: fc.nat({ max: 2 }), transition: fc.nat({ max: 2 }) }) },
);

export const steps: fc.Arbitrary<readonly Step[]> = fc.array(step, { minLength: 8, maxLength: 24, size: 'max' });

/** What chance brings together too rarely: played every time. */
export const example: readonly Step[] = [
  { kind: 'backup', requested: 'auto', meanwhile: 'snapshot' },
  { kind: 'roll-back' },
  { kind: 'rows', change: 'update', table: 1, rows: 1 },
  { kind: 'rows', change: 'insert', table: 0, rows: 150 },
  { kind: 'rows', change: 'insert', table: 1, rows: 150 },
  { kind: 'backup', requested: 'auto', meanwhile: 'nothing' },
  { kind: 'rotate' },
  { kind: 'server', does: 'stay-dirty' },
  { kind: 'create', table: 2, encrypted: true, partitioned: true },
  { kind: 'rows', change: 'insert', table: 2, rows: 50 },
  { kind: 'faulty-backup', fault: 'agent-killed', after: 5, settled: false },
  { kind: 'backup', requested: 'auto', meanwhile: 'rows' },
  { kind: 'tamper', backup: 1, object: 0, harm: 'flip' },
  { kind: 'prune-keyring' },
  // Nobody but KMS knows of its grant then.
  { kind: 'faulty-backup', fault: 'agent-killed', after: 0, settled: false },
  { kind: 'lose-catalog' },
  { kind: 'restore', backup: 2, keyring: 'gone', killedAfter: 12 },
  { kind: 'restore-in-place', backup: 1 },
  { kind: 'rows', change: 'insert', table: 1, rows: 20 },
];

import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runRestore } from '#agent/commands/restore.ts';
import { RestoreLab } from '#test/agent/restore/restore-lab.ts';

let lab: RestoreLab;
let target = 0;
const nextTarget = (): string => join(lab.directory, `restored-${++target}`);

beforeAll(async () => {
  lab = await RestoreLab.create();
  const { server } = lab;
  await server.query('CREATE DATABASE app');
  await server.query(
    'CREATE TABLE app.orders (id INT AUTO_INCREMENT PRIMARY KEY, note VARCHAR(200), amount DECIMAL(10,2))',
  );
  await server.query("INSERT INTO app.orders (note, amount) SELECT REPEAT('x', 150), seq FROM app.seq_1_to_50000");
  await server.query('CREATE TABLE app.dropped (i INT)');
  await server.query('CREATE TABLE app.renamed (i INT PRIMARY KEY)');
  await server.query('CREATE TABLE app.truncated (i INT PRIMARY KEY, t TEXT)');
  await server.query("INSERT INTO app.truncated SELECT seq, REPEAT('t', 1000) FROM app.seq_1_to_2000");
  await server.query('CREATE TABLE app.`odd #ü name` (i INT)');
  await server.query(
    'CREATE TABLE app.parts (i INT, y INT) PARTITION BY RANGE (y) (PARTITION p0 VALUES LESS THAN (10), PARTITION p1 VALUES LESS THAN MAXVALUE)',
  );
  await server.query('INSERT INTO app.parts SELECT seq, seq % 20 FROM app.seq_1_to_1000');
  await server.query('CREATE TABLE app.aria (i INT) ENGINE=Aria');
  await server.query('CREATE TABLE app.myisam (i INT) ENGINE=MyISAM');
  await server.query('CREATE DATABASE emptied');
  await server.query('CREATE TABLE emptied.t (i INT)');
  // A clean restart is a checkpoint: the increments become deltas of pages, not only redo.
  await server.stop();
  await server.start();
  await lab.backup();
  await server.query('DROP TABLE app.dropped');
  await server.query('DROP DATABASE emptied');
  await server.query('RENAME TABLE app.renamed TO app.moved');
  await server.query('TRUNCATE app.truncated');
  await server.query('CREATE TABLE app.created (i INT PRIMARY KEY)');
  await server.query('INSERT INTO app.created VALUES (1), (2)');
  await server.query('INSERT INTO app.myisam VALUES (7)');
  await server.query("UPDATE app.orders SET note = REPEAT('y', 150) WHERE id % 10 = 0");
  await server.stop();
  await server.start();
  await lab.backup();
  await server.query("INSERT INTO app.orders (note, amount) SELECT 'late', seq FROM app.seq_1_to_500");
  await server.query('ALTER TABLE app.moved ADD COLUMN t TEXT');
  await lab.backup();
}, 120_000);

afterAll(async () => {
  await lab?.[Symbol.asyncDispose]();
});

describe('a restore of a full and two increments to a ready directory', () => {
  it.each([2, 1, 0])('has every table as it was when backup %i was taken', async (upTo) => {
    const directory = nextTarget();
    const answer = await runRestore(lab.instruction({ directory, upTo }), lab.context());
    expect(answer).toMatchObject({ kind: 'restore', backup: lab.taken[upTo]?.manifest.backup, directory });
    expect(existsSync(join(lab.directory, `.redoubt-restore-restored-${target}`))).toBe(false);
    expect(readdirSync(directory)).toContain('xtrabackup_binlog_info');
    await using server = await lab.startOn(directory);
    expect(await lab.checksums(server)).toEqual(lab.taken[upTo]?.checksums);
  });
});

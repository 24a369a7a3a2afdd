import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { DemoDatabase } from '#local/demo/demo-database.ts';
import { type Outcome, Scenario } from '#local/demo/scenario.ts';
import { showOn } from '#local/demo/show.ts';

export interface Played {
  readonly stateDirectory: string;
  readonly outcome: Outcome;
}

/** Command lines of the processes of this machine. */
const commandLines = (): string[] =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
      } catch {
        return '';
      }
    });

/** Plays the demo on `database`, and tests what it promises of any. What else is there to be looked at, once it was played. */
export const playDemo = (database: () => DemoDatabase): (() => Played) => {
  let stateDirectory: string;
  let outcome: Outcome;

  beforeAll(async () => {
    stateDirectory = await mkdtemp(join(tmpdir(), 'redoubt-demo-test-'));
    const shown: string[] = [];
    const keep = (text: string): void => void shown.push(text);
    const show = showOn({ isTty: false, columns: 120, out: keep, err: keep, status: keep });
    try {
      outcome = await new Scenario({ stateDirectory, database: database(), show }).run();
    } catch (error) {
      throw new Error(`the demo failed after:\n${shown.join('\n')}`, { cause: error });
    }
  });

  afterAll(() => rmSync(stateDirectory, { recursive: true, force: true }));

  it('takes a full and three increments into one chain, each on the LSN where the one before ends', () => {
    const { backups } = outcome.backups;
    expect(backups.map(({ seq, kind }) => [seq, kind])).toEqual([
      [0, 'full'],
      [1, 'incremental'],
      [2, 'incremental'],
      [3, 'incremental'],
    ]);
    expect(new Set(backups.map(({ chain }) => chain)).size).toBe(1);
    expect(backups.slice(1).map(({ fromLsn }) => fromLsn)).toEqual(backups.slice(0, -1).map(({ toLsn }) => toLsn));
  });

  it('has one of them taken by the schedule: nobody started its execution', () => {
    const last = outcome.backups.backups.at(-1);
    expect(last?.run).toBe(outcome.scheduledRun);
    // The command names its executions after the cluster; the Scheduler does not.
    expect(outcome.scheduledRun).not.toMatch(/^shop-/);
  });

  it('restores the latest backup over a lost data directory, the same as it was', () => {
    expect(outcome.restores[0]).toMatchObject({ comparison: { wrong: [] } });
    expect(outcome.restores[0]?.comparison.held).toHaveLength(6);
  });

  it('restores an earlier increment beside it, the same as it was then', () => {
    expect(outcome.restores[1]).toMatchObject({ comparison: { wrong: [] } });
    expect(outcome.restores[1]?.comparison.held).toHaveLength(6);
  });

  it('ends every run as succeeded', () => {
    expect(outcome.runs.runs.map(({ state }) => state)).toEqual(Array(6).fill('succeeded'));
  });

  it('leaves nothing running', () => {
    expect(commandLines().filter((line) => line.includes(stateDirectory))).toEqual([]);
  });

  return () => ({ stateDirectory, outcome });
};

import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { clusterConfigSchema } from '#core/cluster-config.ts';
import { engineOptionsSchema } from '#core/engine-options.ts';
import { insteadOfEngineWord } from '#core/engine-words.ts';

describe('an option of the engine', () => {
  it.each([
    ['apply-log', 'redoubt restore'],
    ['APPLY_LOG', 'redoubt restore'],
    ['kill-long-queries-timeout', 'engineOptions.killLongQueriesTimeout'],
    ['use-memory', 'limits.prepareMemory'],
    ['incremental-history-uuid', 'history: {incrementBy: uuid}'],
  ])('%s is answered with what does that in Redoubt', (word, instead) => {
    expect(insteadOfEngineWord(word)).toContain(instead);
  });

  it('of innobackupex 2.4.7, whichever its help lists, is answered or is the word for it here as well', () => {
    const help = new URL('../fixtures/xtrabackup-2.4.7-help/innobackupex-options.txt', import.meta.url);
    const words = [...readFileSync(help, 'utf8').matchAll(/^--(.+)$/gm)].map(([, word = '']) => word);
    expect(words.length).toBeGreaterThan(50);
    expect(words.filter((word) => insteadOfEngineWord(word) === undefined)).toEqual(['history']);
  });

  it.each(['fullEveryDay', 'colour', '', 'constructor'])('%j is none', (word) => {
    expect(insteadOfEngineWord(word)).toBeUndefined();
  });

  it('is never a key of the cluster file: what is valid there must not be answered as a habit', () => {
    for (const key of Object.keys(clusterConfigSchema.shape)) expect(insteadOfEngineWord(key)).toBeUndefined();
  });

  it.each([
    'noLock',
    'noBackupLocks',
    'tables',
    'databases',
    'compress',
    'datadir',
    'targetDir',
    'encryptKey',
    'export',
  ])('that would break a promise cannot be chosen: %s', (name) => {
    expect(engineOptionsSchema.safeParse({ [name]: true }).success).toBe(false);
    expect(insteadOfEngineWord(name)).toBeDefined();
  });
});

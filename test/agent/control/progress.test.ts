import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { ProgressWriter } from '#agent/control/progress.ts';
import { progressSchema } from '#core/agent-protocol.ts';
import { RedoubtError } from '#core/errors.ts';
import { clusterIdSchema, runIdSchema } from '#core/ids.ts';
import { MemoryRepository } from '#test/doubles/memory-repository.ts';

const writer = (repository: MemoryRepository) =>
  new ProgressWriter({
    repository,
    key: 'runs/r/progress.json',
    run: runIdSchema.parse('r'),
    cluster: clusterIdSchema.parse('orders'),
    kind: 'backup',
    expectedBytes: 100,
    now: () => new Date('2026-11-22T05:12:10Z'),
    intervalMs: 10,
  });

const read = (repository: MemoryRepository) =>
  progressSchema.parse(JSON.parse(repository.objects.get('runs/r/progress.json')?.toString() ?? ''));

describe('the progress of a run', () => {
  it('is written from the start, again and again, and once more at the end', async () => {
    const repository = new MemoryRepository();
    const progress = writer(repository);
    await sleep(5);
    expect(read(repository)).toMatchObject({ phase: 'starting', bytes: 0, expectedBytes: 100 });
    progress.phase('copying');
    progress.add(10, 1);
    progress.add(5, 0);
    await sleep(30);
    expect(read(repository)).toMatchObject({ phase: 'copying', bytes: 15, files: 1 });
    progress.add(1, 1);
    await progress.end();
    expect(read(repository)).toMatchObject({ phase: 'ended', bytes: 16, files: 2 });
    expect(Object.keys(progress.seconds())).toEqual(expect.arrayContaining(['starting', 'copying']));
  });

  it('is no reason for a run to fail', async () => {
    const repository = new MemoryRepository();
    repository.failing = () => new RedoubtError('UploadFailed', 'no');
    const progress = writer(repository);
    progress.phase('copying');
    await progress.end();
    expect(repository.objects.size).toBe(0);
  });
});

import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { runRestore } from '#agent/commands/restore.ts';
import { beginSwap, newJournal } from '#agent/restore/journal.ts';
import { writeJournal } from '#agent/restore/journal-file.ts';
import { processesUsing } from '#agent/restore/processes-using.ts';
import type { RestoreInstruction } from '#core/agent-protocol.ts';
import { RedoubtError } from '#core/errors.ts';
import { runIdSchema } from '#core/ids.ts';
import { RestoreLab } from '#test/agent/restore/restore-lab.ts';

let lab: RestoreLab;
let directory: string;
let targets = 0;
const staging = (): string => join(dirname(directory), `.redoubt-restore-${basename(directory)}`);
const journal = () => JSON.parse(readFileSync(join(staging(), 'journal.json'), 'utf8'));
const states = (): readonly string[] => journal().steps.map(({ state }: { state: string }) => state);

const instruction = (overrides: Partial<RestoreInstruction> & { readonly upTo?: number } = {}): RestoreInstruction =>
  lab.instruction({ directory, ...overrides });

const until = async (what: () => boolean | Promise<boolean>): Promise<void> => {
  for (let waited = 0; !(await what()); waited += 20) {
    if (waited > 30_000) throw new Error('it did not come to that');
    await sleep(20);
  }
};

/** Keys of the segments that were downloaded while `work` ran, by the seq of their backup. */
const fetchedBy = async (work: () => Promise<unknown>): Promise<ReadonlySet<number>> => {
  const fetched = new Set<number>();
  const get = lab.repository.get;
  lab.repository.get = (key, options) => {
    const taken = lab.taken.findIndex(({ manifest }) => manifest.segments.some((segment) => segment.key === key));
    if (taken >= 0) fetched.add(taken);
    return get.call(lab.repository, key, options);
  };
  try {
    await work();
  } finally {
    lab.repository.get = get;
  }
  return fetched;
};

const expectRestored = async (): Promise<void> => {
  expect(existsSync(staging())).toBe(false);
  await using server = await lab.startOn(directory);
  expect(await lab.checksums(server)).toEqual(lab.taken.at(-1)?.checksums);
};

beforeAll(async () => {
  lab = await RestoreLab.create();
  const { server } = lab;
  await server.query('CREATE DATABASE app');
  await server.query('CREATE TABLE app.t (id INT AUTO_INCREMENT PRIMARY KEY, note VARCHAR(200))');
  for (let round = 0; round < 3; round++) {
    await server.query("INSERT INTO app.t (note) SELECT REPEAT('x', 150) FROM app.seq_1_to_20000");
    await server.stop();
    await server.start();
    await lab.backup();
  }
}, 120_000);

afterAll(async () => {
  await lab?.[Symbol.asyncDispose]();
});

afterEach(() => {
  lab.repository.failing = () => undefined;
});

const fresh = (): void => {
  directory = join(lab.directory, `target-${++targets}`);
};

describe('an object in the repository', () => {
  const firstSegment = (): string => lab.taken[0]?.manifest.segments[1]?.key as string;
  const withObject = async (key: string, body: Buffer | undefined, work: () => Promise<void>): Promise<void> => {
    const original = lab.repository.objects.get(key) as Buffer;
    if (body === undefined) lab.repository.objects.delete(key);
    else lab.repository.objects.set(key, body);
    try {
      await work();
    } finally {
      lab.repository.objects.set(key, original);
    }
  };
  const tampered = (key: string): Buffer => {
    const body = Buffer.from(lab.repository.objects.get(key) as Buffer);
    body.writeUInt8((body.readUInt8(body.length >> 1) ^ 1) & 0xff, body.length >> 1);
    return body;
  };

  it('with one changed bit is refused, before any engine runs, and nothing stays behind', async () => {
    fresh();
    const engineDirectory = lab.engineWith('touch "$HERE/ran"');
    await withObject(firstSegment(), tampered(firstSegment()), async () => {
      await expect(runRestore(instruction({ engineDirectory }), lab.context())).rejects.toMatchObject({
        code: 'ObjectTampered',
      });
    });
    expect(existsSync(join(engineDirectory, 'ran'))).toBe(false);
    expect(existsSync(staging())).toBe(false);
    expect(existsSync(directory)).toBe(false);
  });

  it('that was truncated is refused before anything is downloaded', async () => {
    fresh();
    const key = firstSegment();
    await withObject(key, lab.repository.objects.get(key)?.subarray(0, -1), async () => {
      const fetched = await fetchedBy(() =>
        expect(runRestore(instruction(), lab.context())).rejects.toMatchObject({ code: 'ObjectTampered' }),
      );
      expect(fetched.size).toBe(0);
    });
    expect(existsSync(staging())).toBe(false);
  });

  it('that is gone is named before anything is downloaded', async () => {
    fresh();
    const key = lab.taken[2]?.manifest.segments[0]?.key as string;
    await withObject(key, undefined, async () => {
      const fetched = await fetchedBy(() =>
        expect(runRestore(instruction(), lab.context())).rejects.toMatchObject({
          code: 'ObjectMissing',
          detail: expect.stringContaining(key),
        }),
      );
      expect(fetched.size).toBe(0);
    });
  });

  it('that is the segment of another place is refused though it is genuine', async () => {
    fresh();
    const [first, second] = lab.taken[0]?.manifest.segments ?? [];
    const swapped = lab.repository.objects.get(second?.key as string) as Buffer;
    await withObject(first?.key as string, swapped, async () => {
      await expect(runRestore(instruction(), lab.context())).rejects.toMatchObject({ code: 'ObjectTampered' });
    });
  });

  it('that is a changed manifest is refused by its digest', async () => {
    fresh();
    const key = lab.taken[1]?.key as string;
    const text = String(lab.repository.objects.get(key)).replace('"reason":"test"', '"reason":"tess"');
    await withObject(key, Buffer.from(text), async () => {
      await expect(runRestore(instruction(), lab.context())).rejects.toMatchObject({ code: 'ManifestInvalid' });
    });
  });

  it('that is a changed inventory is refused', async () => {
    fresh();
    const key = lab.taken[1]?.manifest.inventory.key as string;
    await withObject(key, tampered(key), async () => {
      await expect(runRestore(instruction(), lab.context())).rejects.toMatchObject({ code: 'ObjectTampered' });
    });
    expect(existsSync(staging())).toBe(false);
  });

  it('is downloaded again from where a repository that went away left off', async () => {
    fresh();
    const last = lab.taken[2]?.manifest.segments[0]?.key;
    lab.repository.failing = (operation, key) =>
      operation === 'get' && key === last ? new RedoubtError('RepositoryUnavailable', 'away') : undefined;
    await expect(runRestore(instruction(), lab.context())).rejects.toMatchObject({ code: 'RepositoryUnavailable' });
    expect(states()[2]).toBe('pending');
    lab.repository.failing = () => undefined;
    const fetched = await fetchedBy(() => runRestore(instruction(), lab.context()));
    expect(fetched.has(2)).toBe(true);
    expect(fetched.size).toBeLessThan(3);
    await expectRestored();
  });
});

describe('a target', () => {
  it('that holds files is left as it is', async () => {
    fresh();
    mkdirSync(directory);
    writeFileSync(join(directory, 'precious'), 'data');
    await expect(runRestore(instruction(), lab.context())).rejects.toMatchObject({ code: 'TargetNotEmpty' });
    expect(readdirSync(directory)).toEqual(['precious']);
    expect(existsSync(staging())).toBe(false);
  });

  it('that a server runs on is left as it is', async () => {
    fresh();
    await expect(runRestore(instruction({ directory: lab.server.dataDirectory }), lab.context())).rejects.toMatchObject(
      {
        code: 'TargetInUse',
      },
    );
    await expect(lab.server.query('SELECT 1')).resolves.toBeDefined();
  });

  it('that another restore works on is busy', async () => {
    fresh();
    const ends = await Promise.allSettled([
      runRestore(instruction(), lab.context()),
      runRestore(instruction(), lab.context()),
    ]);
    expect(ends.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    expect(ends.find(({ status }) => status === 'rejected')).toMatchObject({ reason: { code: 'HostBusy' } });
    await expectRestored();
  });

  it('may be a mount point', async () => {
    fresh();
    mkdirSync(directory);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=512m', 'tmpfs', directory]);
    try {
      await runRestore(instruction(), lab.context());
      expect(readdirSync(directory)).not.toContain('.redoubt-restore');
      await using server = await lab.startOn(directory);
      expect(await lab.checksums(server)).toEqual(lab.taken.at(-1)?.checksums);
    } finally {
      execFileSync('umount', [directory]);
    }
  });
});

describe('a disk', () => {
  const onSmallDisk = async (size: string, work: () => Promise<void>): Promise<void> => {
    const mount = join(lab.directory, `disk-${++targets}`);
    mkdirSync(mount);
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', mount]);
    directory = join(mount, 'restored');
    try {
      await work();
    } finally {
      execFileSync('umount', [mount]);
    }
  };

  it('that is too small is named, with what is needed and what is free, before anything is downloaded', async () => {
    await onSmallDisk('70m', async () => {
      const fetched = await fetchedBy(() =>
        expect(runRestore(instruction(), lab.context())).rejects.toMatchObject({
          code: 'NotEnoughSpace',
          detail: expect.stringMatching(/GiB free.*needs .*GiB/),
        }),
      );
      expect(fetched.size).toBe(0);
      expect(existsSync(staging())).toBe(false);
    });
  });

  it('that fills up in the middle is named, and gets its space back', async () => {
    await onSmallDisk('300m', async () => {
      const filler = join(dirname(directory), 'filler');
      lab.repository.failing = (operation, key) => {
        // Somebody else fills it once the space was measured.
        if (operation === 'get' && key.includes('data.') && !existsSync(filler))
          execFileSync('fallocate', ['--length', '290m', filler]);
        return undefined;
      };
      await expect(runRestore(instruction(), lab.context())).rejects.toMatchObject({ code: 'DiskFull' });
      expect(existsSync(filler)).toBe(true);
      expect(existsSync(staging())).toBe(false);
    });
  });
});

describe('an engine', () => {
  it('that fails is named, with its last words, and its base is not used again', async () => {
    fresh();
    const engineDirectory = lab.engineWith('echo "mariadb-backup: Fatal error: it broke" >&2; exit 1');
    await expect(runRestore(instruction({ engineDirectory }), lab.context())).rejects.toMatchObject({
      code: 'PrepareFailed',
      detail: expect.stringContaining('it broke'),
    });
    const fetched = await fetchedBy(() => runRestore(instruction(), lab.context()));
    expect(fetched.has(0)).toBe(true);
    await expectRestored();
  });

  it('that says OK and did nothing is found out', async () => {
    fresh();
    const engineDirectory = lab.engineWith('echo "[00] 2026-11-22 05:34:50 completed OK!" >&2; exit 0');
    await expect(runRestore(instruction({ engineDirectory }), lab.context())).rejects.toMatchObject({
      code: 'PrepareIncomplete',
      detail: expect.stringContaining('backup_type is full-backuped'),
    });
    expect(existsSync(staging())).toBe(false);
  });

  it('that says OK and lost a table is found out', async () => {
    fresh();
    const engineDirectory = lab.engineWith(
      // The engine's working directory is not its target, but its argument names that.
      '$REAL "$@" || exit; for a in "$@"; do case "$a" in --target-dir=*) rm -f "$(echo "$a" | cut -d= -f2)/app/t.ibd";; esac; done; exit 0',
    );
    await expect(runRestore(instruction({ engineDirectory }), lab.context())).rejects.toMatchObject({
      code: 'PrepareIncomplete',
      detail: expect.stringContaining('app/t.ibd'),
    });
  });

  it('that says OK and did not read the whole redo is found out', async () => {
    fresh();
    const engineDirectory = lab.engineWith(
      '$REAL "$@" 2>&1 | sed "s/End of log at LSN=.*/End of log at LSN=50000/" >&2; exit 0',
    );
    await expect(runRestore(instruction({ engineDirectory }), lab.context())).rejects.toMatchObject({
      code: 'PrepareIncomplete',
      detail: expect.stringContaining('redo was applied up to LSN 50000'),
    });
  });

  it('that is not installed is named before anything is downloaded', async () => {
    fresh();
    const fetched = await fetchedBy(() =>
      expect(runRestore(instruction({ engineDirectory: '/nonexistent' }), lab.context())).rejects.toMatchObject({
        code: 'EngineMissing',
      }),
    );
    expect(fetched.size).toBe(0);
  });
});

describe('an agent that is killed', () => {
  /** Hangs, with the real engine stopped in the middle of its work, when the increment of this name is applied. */
  const hangAt = (pattern: string): string =>
    lab.engineWith(
      `case "$*" in ${pattern}) $REAL "$@" & sleep 0.1; kill -STOP $!; echo $! > "$HERE/pid"; touch "$HERE/hangs"; sleep 600;; esac`,
    );
  const engineRuns = (engineDirectory: string): boolean =>
    existsSync(`/proc/${readFileSync(join(engineDirectory, 'pid'), 'utf8').trim()}`);

  it('while an increment is applied leaves no engine behind, and the next run takes a fresh base but keeps what waited', async () => {
    fresh();
    const engineDirectory = hangAt('*increment-0001*');
    const child = lab.startChild(instruction({ engineDirectory }));
    await child.reaches(() => existsSync(join(engineDirectory, 'hangs')));
    await child.reaches(() => states()[2] === 'extracted');
    expect(states()).toEqual(['prepared', 'preparing', 'extracted']);
    expect(engineRuns(engineDirectory)).toBe(true);
    child.kill();
    await child.ended;
    await until(() => !engineRuns(engineDirectory));
    const fetched = await fetchedBy(() => runRestore(instruction(), lab.context()));
    expect([...fetched].sort()).toEqual([0, 1]);
    await expectRestored();
  });

  it('while the base is prepared does not continue from it', async () => {
    fresh();
    const engineDirectory = hangAt('*');
    const child = lab.startChild(instruction({ engineDirectory }));
    await child.reaches(() => existsSync(join(engineDirectory, 'hangs')));
    await child.reaches(() => states()[1] === 'extracted');
    child.kill();
    await child.ended;
    const fetched = await fetchedBy(() => runRestore(instruction(), lab.context()));
    expect(fetched.has(0)).toBe(true);
    expect(fetched.has(1)).toBe(false);
    await expectRestored();
  });

  it('while the last increment is downloaded is continued: what is applied is not fetched again', async () => {
    fresh();
    const child = lab.startChild(instruction(), lab.taken[2]?.manifest.segments[0]?.key);
    await child.reaches(() => existsSync(join(child.objects, 'hangs')));
    await child.reaches(() => states()[1] === 'prepared');
    child.kill();
    await child.ended;
    const fetched = await fetchedBy(() => runRestore(instruction(), lab.context()));
    expect([...fetched]).toEqual([2]);
    await expectRestored();
  });

  it('and comes back for an earlier backup keeps nothing that would be too much', async () => {
    fresh();
    const child = lab.startChild(instruction(), lab.taken[2]?.manifest.segments[0]?.key);
    await child.reaches(() => existsSync(join(child.objects, 'hangs')));
    await child.reaches(() => states()[1] === 'prepared');
    child.kill();
    await child.ended;
    await runRestore(instruction({ upTo: 0 }), lab.context());
    await using server = await lab.startOn(directory);
    expect(await lab.checksums(server)).toEqual(lab.taken[0]?.checksums);
  });
});

describe('an agent that was killed after the directory was ready', () => {
  /** What a crash between the rename and the removal of the staging directory leaves. */
  const crashed = async (): Promise<void> => {
    fresh();
    await runRestore(instruction(), lab.context());
    mkdirSync(staging(), { mode: 0o700 });
    const journalOf = newJournal(instruction().run, directory, instruction().steps);
    await writeJournal(
      staging(),
      beginSwap(
        { ...journalOf, steps: journalOf.steps.map((step) => ({ ...step, state: 'prepared' })) },
        { mode: 'prepare-only', aside: undefined, serverRan: false },
      ),
    );
  };
  const another = (): RestoreInstruction => instruction({ run: runIdSchema.parse('another-run') });

  it('only cleans up and answers when the same run comes again', async () => {
    await crashed();
    const fetched = await fetchedBy(async () =>
      expect(await runRestore(instruction(), lab.context())).toMatchObject({ kind: 'restore', directory }),
    );
    expect(fetched.size).toBe(0);
    await expectRestored();
  });

  it('says nothing of another run: that finds a directory that is not empty', async () => {
    await crashed();
    writeFileSync(join(directory, 'worked-on'), 'since');
    await expect(runRestore(another(), lab.context())).rejects.toMatchObject({ code: 'TargetNotEmpty' });
    expect(readFileSync(join(directory, 'worked-on'), 'utf8')).toBe('since');
  });

  it('says nothing of another run: that restores again once the directory was emptied', async () => {
    await crashed();
    rmSync(directory, { recursive: true });
    mkdirSync(directory);
    const fetched = await fetchedBy(() => runRestore(another(), lab.context()));
    expect(fetched.size).toBe(3);
    await expectRestored();
  });
});

describe('a run that is told to stop', () => {
  it('stops at once with the reason it was given, and the next one goes on', async () => {
    fresh();
    const stop = new AbortController();
    const reason = new RedoubtError('RunCancelled', 'the execution was aborted');
    const engineDirectory = lab.engineWith('touch "$HERE/ran"; sleep 600');
    const running = runRestore(instruction({ engineDirectory }), lab.context({ signal: stop.signal }));
    running.catch(() => undefined);
    await until(() => existsSync(join(engineDirectory, 'ran')));
    stop.abort(reason);
    await expect(running).rejects.toBe(reason);
    expect(await processesUsing(staging())).toEqual([]);
    await runRestore(instruction(), lab.context());
    await expectRestored();
  });
});

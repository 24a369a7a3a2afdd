import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { RedoubtError } from '#core/errors.ts';
import { processStart } from '../control/process-start.ts';

const TMPFS_MAGIC = 0x01021994;
const RAMFS_MAGIC = 0x858458f6;
const PLACES = ['/dev/shm', '/run'] as const;
const NAME = /^redoubt-(\d+)-(\d+)-/;

const isMemory = (place: string): boolean => {
  try {
    return [TMPFS_MAGIC, RAMFS_MAGIC].includes(statfsSync(place).type);
  } catch {
    return false;
  }
};

const sweep = (place: string): void => {
  for (const entry of readdirSync(place)) {
    const match = NAME.exec(entry);
    if (match && processStart(Number(match[1])) !== match[2])
      rmSync(join(place, entry), { recursive: true, force: true });
  }
};

/**
 * The one place for a secret that a program wants in a file: a 0700 directory in memory. INV-3: it is gone when it is disposed
 * of and when this process ends, also by SIGKILL: a guardian, in a session of its own, holds the other end of a pipe and
 * removes it. Should the guardian be killed too, the next run sweeps it.
 */
export class SecretDirectory implements Disposable {
  readonly path: string;
  readonly #guardian: ReturnType<typeof spawn>;
  #files = 0;

  private constructor(path: string, guardian: ReturnType<typeof spawn>) {
    this.path = path;
    this.#guardian = guardian;
  }

  /** Throws `Unexpected` where the host has no tmpfs that can be written to. `places` are tried in order. */
  static create(places: readonly string[] = PLACES): SecretDirectory {
    const start = processStart(process.pid) ?? '0';
    for (const place of places.filter(isMemory)) {
      let path: string;
      try {
        sweep(place);
        path = mkdtempSync(join(place, `redoubt-${process.pid}-${start}-`));
      } catch {
        continue;
      }
      const guardian = spawn(
        '/bin/sh',
        ['-c', 'trap "" HUP INT TERM; read -r _; rm -rf -- "$1"', 'redoubt-guardian', path],
        {
          stdio: ['pipe', 'ignore', 'ignore'],
          detached: true,
          env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
          cwd: '/',
        },
      );
      guardian.unref();
      // A socket by nature: the agent need not stay alive for it.
      (guardian.stdin as unknown as { unref(): void }).unref();
      guardian.on('error', () => {});
      return new SecretDirectory(path, guardian);
    }
    throw new RedoubtError('Unexpected', `no tmpfs to keep secrets in: tried ${places.join(', ')}`);
  }

  /** Writes `content` to a new file, mode 0600, and returns its absolute path. */
  write(content: string | Uint8Array): string {
    this.#files += 1;
    const path = join(this.path, String(this.#files));
    writeFileSync(path, content, { mode: 0o600, flag: 'wx' });
    return path;
  }

  /** A new directory in it, mode 0700: for files that need a name of their own. */
  makeDirectory(): string {
    this.#files += 1;
    const path = join(this.path, String(this.#files));
    mkdirSync(path, { mode: 0o700 });
    return path;
  }

  /** Removes one file or directory early. */
  remove(path: string): void {
    rmSync(path, { recursive: true, force: true });
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
    this.#guardian.stdin?.destroy();
  }
}

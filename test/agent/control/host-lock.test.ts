import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { HostLock } from '#agent/control/host-lock.ts';

const root = join(import.meta.dirname, '..', '..', '..');

/** Another process that takes the lock, says so and stays until it is killed. */
const holder = (directory: string, name: string) => {
  const script = `
    const { HostLock } = await import('#agent/control/host-lock.ts');
    try { HostLock.take(${JSON.stringify(directory)}, ${JSON.stringify(name)}); process.stdout.write('held'); setInterval(() => 0, 1000); }
    catch (error) { process.stdout.write(error.name); process.exit(1); }`;
  return spawn(process.execPath, ['--input-type=module-typescript', '-e', script], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
};

describe('one run of the agent per cluster and host', () => {
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'redoubt-lock-'));
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  it('refuses a second one, names who holds it, and lets the next in when the first is over', () => {
    const first = HostLock.take(directory, 'orders.i-1');
    expect(() => HostLock.take(directory, 'orders.i-1')).toThrow(`${process.pid}`);
    first[Symbol.dispose]();
    HostLock.take(directory, 'orders.i-1')[Symbol.dispose]();
    expect(readdirSync(directory)).toEqual([]);
  });

  it('keeps clusters apart, also where one name begins with the other', () => {
    using _one = HostLock.take(directory, 'orders');
    using _two = HostLock.take(directory, 'orders-2');
    expect(readdirSync(directory)).toHaveLength(2);
  });

  it('is held against other processes, and is free again when its holder was killed', async () => {
    const other = holder(directory, 'orders');
    const [said] = await once(other.stdout, 'data');
    expect(String(said)).toBe('held');
    try {
      expect(() => HostLock.take(directory, 'orders')).toThrow(`process ${other.pid} works on orders`);
    } finally {
      other.kill('SIGKILL');
      await once(other, 'exit');
    }
    HostLock.take(directory, 'orders')[Symbol.dispose]();
  });

  it('is never held twice, however many want it at once', async () => {
    const holders = Array.from({ length: 4 }, () => holder(directory, 'orders'));
    try {
      const said = await Promise.all(holders.map(async (each) => String((await once(each.stdout, 'data'))[0])));
      expect(said.filter((word) => word === 'held').length).toBeLessThanOrEqual(1);
      expect(said.every((word) => word === 'held' || word === 'HostBusy')).toBe(true);
    } finally {
      for (const each of holders) each.kill('SIGKILL');
    }
  });

  it('takes a recycled process id for another process', () => {
    spawnSync('touch', [join(directory, `orders.lock.${process.ppid}.1`)]);
    HostLock.take(directory, 'orders')[Symbol.dispose]();
    expect(readdirSync(directory)).toEqual([]);
  });
});

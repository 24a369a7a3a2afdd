import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { describeWhere } from './describe-where.ts';
import { Lab, metadataIn } from './lab.ts';
import { runProgram } from './run-program.ts';

// A disk that is full. Numbers are those of the recorded runs of 2.4.7. Needs the right to mount a small file system.

const probe = '/tmp/redoubt-mount-probe';
const mayMount = ((): boolean => {
  mkdirSync(probe, { recursive: true });
  if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1M', 'none', probe]).status !== 0) return false;
  execFileSync('umount', [probe]);
  return true;
})();

describeWhere(mayMount ? undefined : 'this user may mount nothing', 'a disk that is full', () => {
  let lab: Lab;
  let full: string;
  const mounts: string[] = [];

  const small = (bytes: number): string => {
    const directory = lab.fresh('small');
    mkdirSync(directory);
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${bytes}`, 'none', directory]);
    mounts.push(directory);
    return directory;
  };

  beforeAll(async () => {
    lab = await Lab.create();
    await lab.server.stayDirty();
    await lab.addRows('enc', 100);
    full = await lab.taken();
  });

  afterAll(async () => {
    for (const mount of mounts) execFileSync('umount', ['-l', mount]);
    await lab.close();
  });

  it('63: at a backup', async () => {
    const target = join(small(4 * 2 ** 20), 'b');
    const { code, log } = await lab.backup(target);
    expect(code).toBe(1);
    expect(log).toContain(`xtrabackup: Error writing file '${target}/ibdata1' (Errcode: 28 - No space left on device)`);
    expect(log).toContain('[01] xtrabackup: Error: failed to copy datafile.');
    expect(metadataIn(target)).toBeUndefined();
  });

  it('63c: under a stream', async () => {
    const { code, log } = await lab.backup(lab.fresh('tmp'), ['--stream=xbstream'], {
      into: join(small(4 * 2 ** 20), 's'),
    });
    expect(code).toBe(1);
    expect(log).toContain("xtrabackup: Error writing file 'UNOPENED' (Errcode: 28 - No space left on device)");
    expect(log).toContain('xb_stream_write_data() failed.');
  });

  it('63d: at the extraction', async () => {
    const stream = lab.fresh('stream');
    await lab.backup(lab.fresh('tmp'), ['--stream=xbstream'], { into: stream });
    const { code, log } = await runProgram('xbstream', ['-x', '-C', small(4 * 2 ** 20)], { from: stream });
    expect(code).toBe(1);
    expect(log).toContain("xbstream: Error writing file './ibdata1' (Errcode: 28 - No space left on device)");
    expect(log).toContain('xbstream: my_write() failed.');
  });

  it('63e: at the decryption; the original stays', async () => {
    const sealed = await lab.taken(['--encrypt=AES256', `--encrypt-key-file=${lab.keyFile}`]);
    const directory = small(16 * 2 ** 20);
    cpSync(join(sealed, 'ibdata1.xbcrypt'), join(directory, 'ibdata1.xbcrypt'));
    const { code, log } = await runProgram('xtrabackup', [
      '--decrypt=AES256',
      `--encrypt-key-file=${lab.keyFile}`,
      '--remove-original',
      `--target-dir=${directory}`,
    ]);
    expect(code).toBe(1);
    expect(log).toContain("xbcrypt: Error writing file 'UNOPENED' (Errcode: 28 - No space left on device)");
    expect(existsSync(join(directory, 'ibdata1.xbcrypt'))).toBe(true);
  });

  it('63f: at a prepare: it crashes, and the checkpoints already say that it is done', async () => {
    const bytes = Number(execFileSync('du', ['-sb', full]).toString().split('\t')[0]);
    // Room for the redo grown to 8 MiB and for the temporary tablespace, not for the new log files.
    const directory = small(bytes + (8 + 12 + 4) * 2 ** 20);
    const target = join(directory, 'd');
    cpSync(full, target, { recursive: true });
    const { code, log } = await lab.prepare(target);
    expect(code, log).toBe(2);
    expect(log).toMatch(/Write to file \.\/ib_logfile1(01)?failed at offset \d+/);
    expect(log).toContain('xtrabackup got signal 11 ;');
    expect(metadataIn(target)?.type).toBe('full-prepared');
    // 63m: with room again it can be repeated.
    const roomy = lab.fresh('roomy');
    cpSync(target, roomy, { recursive: true });
    expect((await lab.prepare(roomy)).code).toBe(0);
    expect(await lab.restored(roomy, (server) => server.checksums('app.enc'))).toBe(
      await lab.server.checksums('app.enc'),
    );
  });

  it('63g: at the copy-back', async () => {
    const prepared = lab.copyOf(full);
    await lab.prepared(prepared);
    const { code, log } = await runProgram('xtrabackup', [
      '--no-defaults',
      '--copy-back',
      `--datadir=${join(small(4 * 2 ** 20), 'dd')}`,
      `--target-dir=${prepared}`,
    ]);
    expect(code).toBe(1);
    expect(log).toContain('(Errcode: 28 - No space left on device)');
    expect(log).toContain('[01] Error: copy_file() failed.');
  });

  it('63h: and one that is read-only', async () => {
    const directory = small(2 ** 20);
    execFileSync('mount', ['-o', 'remount,ro', directory]);
    const { code, log } = await lab.backup(join(directory, 'b'));
    expect(code).toBe(1);
    expect(log).toContain(`xtrabackup: Error: cannot mkdir 30: ${directory}/b/`);
  });
});

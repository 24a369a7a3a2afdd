import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { expectRecovered } from './expect-recovered.ts';
import { cluster, FaultLab } from './fault-lab.ts';

let lab: FaultLab;

beforeAll(async () => {
  lab = await FaultLab.create();
  await lab.backUp();
});

afterAll(() => lab.close());

/** A backup that is asked for as things are, and must fail. */
const failedBackup = async () => lab.fails(await lab.begin('backup', cluster));

describe('a name or a file that is wrong', () => {
  it('an unknown cluster is UnknownCluster; the run is listed with that, under no cluster', async () => {
    const run = await lab.begin('backup', 'shopp');
    const failed = await lab.fails(run);
    expect(failed).toMatchObject({ state: 'failed', code: 'UnknownCluster', detail: 'no cluster shopp was applied' });
    const listed = (await lab.api.ask({ query: 'runs', limit: 50 })).runs.filter((one) => one.cluster !== cluster);
    expect(listed.map((one) => one.run)).toEqual([run]);
    expect((await lab.redoubt('runs')).out).toContain('failed: UnknownCluster');
    await expectRecovered(lab);
  });

  it('a malformed cluster file is refused with all its problems at once, each with its line, and changes nothing', async () => {
    const before = await lab.api.ask({ query: 'cluster', cluster });
    const file = lab.write(
      'malformed.yaml',
      [
        'cluster: shop',
        'engine: mysqldump',
        'server:',
        '  socket: run/mysqld.sock',
        `  dataDirectory: ${lab.server.dataDirectory}`,
        `  optionFile: ${lab.server.optionFile}`,
        'hosts:',
        '  - instance: web-1',
        `    role: ${lab.host.role}`,
        'policy:',
        '  maxIncrement: 7',
        '',
      ].join('\n'),
    );
    const { exit, err } = await lab.redoubt('cluster', 'apply', '-f', file);
    expect(exit).toBe(11);
    const said = err.join('\n');
    expect(said).toMatch(/^error: InvalidClusterFile: /);
    for (const problem of [/^.*2:1 engine: /m, /^4:3 server\.socket: /m, /^8:5 hosts\.0\.instance: /m])
      expect(said).toMatch(problem);
    expect(said).toMatch(/^11:3 policy\.maxIncrement: unknown key; did you mean maxIncrements\?$/m);
    expect(await lab.api.ask({ query: 'cluster', cluster })).toEqual(before);
    await expectRecovered(lab);
  });
});

describe('a host that cannot be asked', () => {
  afterEach(async () => {
    await lab.apply();
    await expectRecovered(lab);
  });

  it('one that Systems Manager does not know is HostNotManaged', async () => {
    await lab.apply((file) => {
      for (const host of file.hosts) host.instance = 'i-0123456789abcdef0';
    });
    // An increment would go to the host of its chain, which is known.
    const failed = await lab.fails(await lab.begin('backup', cluster, '--full'));
    expect(failed).toMatchObject({ code: 'HostNotManaged', detail: expect.stringContaining('i-0123456789abcdef0') });
  });

  it('one that lacks the tag of a cluster is HostNotManaged, and the tag is named', async () => {
    const refused = { kind: 'error', status: 400, code: 'AccessDeniedException' } as const;
    lab.controlPlane.cloud.faults.set([{ operations: ['ssm:SendCommand'], fault: refused }]);
    const failed = await failedBackup();
    lab.controlPlane.cloud.faults.set([]);
    expect(failed).toMatchObject({ code: 'HostNotManaged', detail: expect.stringContaining('tag redoubt-cluster') });
  });

  it('one without the agent is AgentMissing, and not HostSilent after a while', async () => {
    await lab.apply((file) => {
      for (const host of file.hosts) host.agentDirectory = join(lab.directory, 'no-agent-here');
    });
    const failed = await failedBackup();
    expect(failed).toMatchObject({ code: 'AgentMissing', detail: expect.stringContaining('no-agent-here') });
  });
});

describe('a server that cannot be backed up', () => {
  afterEach(() => expectRecovered(lab));

  it('one that is down is ServerUnreachable', async () => {
    await lab.server.stop();
    const failed = await failedBackup();
    await lab.server.start();
    expect(failed).toMatchObject({ code: 'ServerUnreachable', detail: expect.stringContaining(lab.server.socket) });
  });

  it('a wrong password is ServerAccessDenied, and is not repeated to anybody', async () => {
    const optionFile = lab.write('wrong.cnf', '[client]\nuser=redoubt\npassword=not-the-right-one\n');
    await lab.apply((file) => {
      file.server.optionFile = optionFile;
    });
    const failed = await failedBackup();
    await lab.apply();
    expect(failed).toMatchObject({ code: 'ServerAccessDenied', detail: expect.stringContaining('redoubt') });
    expect(failed.detail).not.toContain('not-the-right-one');
  });

  it('missing privileges are PrivilegesMissing, all of them named', async () => {
    const privileges = 'RELOAD, BINLOG MONITOR ON *.*';
    await lab.sql(`REVOKE ${privileges} FROM 'redoubt'@'localhost'`);
    const failed = await failedBackup();
    await lab.sql(`GRANT ${privileges} TO 'redoubt'@'localhost'`);
    expect(failed.code).toBe('PrivilegesMissing');
    expect(failed.detail).toMatch(/RELOAD.*BINLOG MONITOR|BINLOG MONITOR.*RELOAD/);
  });

  it("a data directory that is not the server's is DataDirectoryMismatch, with both named", async () => {
    const other = join(lab.directory, 'other-data');
    mkdirSync(other, { recursive: true });
    await lab.apply((file) => {
      file.server.dataDirectory = other;
    });
    const failed = await failedBackup();
    await lab.apply();
    expect(failed.code).toBe('DataDirectoryMismatch');
    expect(failed.detail).toContain(other);
    expect(failed.detail).toContain(lab.server.dataDirectory);
  });
});

describe('a target that a restore cannot use', () => {
  afterEach(() => expectRecovered(lab));

  const failedRestore = async (directory: string) =>
    lab.fails(await lab.begin('restore', cluster, '--to', 'latest', '--directory', directory));

  it('one that holds files is TargetNotEmpty, and keeps them', async () => {
    const directory = join(lab.directory, 'not-empty');
    mkdirSync(directory);
    writeFileSync(join(directory, 'precious'), 'do not touch');
    const failed = await failedRestore(directory);
    expect(failed).toMatchObject({ code: 'TargetNotEmpty', detail: expect.stringContaining('precious') });
    expect(readdirSync(directory)).toEqual(['precious']);
  });

  it.skipIf(process.getuid?.() !== 0)(
    'one without the space is NotEnoughSpace, which says how much is needed',
    async () => {
      const directory = join(lab.directory, 'small');
      mkdirSync(directory);
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'redoubt-faults', directory]);
      try {
        const failed = await failedRestore(join(directory, 'restored'));
        expect(failed.code).toBe('NotEnoughSpace');
        expect(failed.detail).toMatch(/ has 0\.01 GiB free, the restore needs \d+\.\d+ GiB/);
        expect(readdirSync(directory)).toEqual([]);
      } finally {
        execFileSync('umount', [directory]);
      }
    },
  );
});

it('of two backups of one cluster at once one is BackupInProgress, which names the other; that one succeeds', async () => {
  const engine = await lab.holdEngine('--backup');
  const first = await lab.begin('backup', cluster);
  await engine.reached();
  const second = await lab.begin('backup', cluster);
  const refused = await lab.fails(second);
  expect(refused).toMatchObject({ state: 'refused', code: 'BackupInProgress' });
  expect(refused.detail).toMatch(new RegExp(`^run ${first} holds shop since `));
  expect((await lab.redoubt('runs', cluster)).out).toMatch(new RegExp(`^${second} +refused: BackupInProgress `, 'm'));
  engine.release();
  await lab.succeeds(first);
  await lab.apply();
  await expectRecovered(lab);
});

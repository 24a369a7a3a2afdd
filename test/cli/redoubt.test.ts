import { GetParameterCommand } from '@aws-sdk/client-ssm';
import { beforeEach, describe, expect, it } from 'vitest';
import {
  address,
  approvals,
  aws,
  givenAnswers,
  givenControlPlane,
  givenExecution,
  givenHistory,
  invocations,
  noSuchExecution,
  redoubt,
  started,
} from './cli-under-test.ts';
import { backup, chain, config, progress, run } from './records.ts';

beforeEach(givenControlPlane);

const runId = 'shop-backup-20261122T051210Z-3f9a1c';

describe('finding the control plane', () => {
  it('reads where everything is from one SSM parameter, under the name given', async () => {
    aws.ssm.on(GetParameterCommand, { Name: '/redoubt/prod/control-plane' }).resolves({
      Parameter: {
        Value: JSON.stringify({ ...address, functions: { ...address.functions, queryCatalog: 'prod-query' } }),
      },
    });
    givenAnswers({ clusters: [] });
    expect((await redoubt('clusters --name prod')).exit).toBe(0);
    expect(invocations()).toEqual([{ functionName: 'prod-query', input: { query: 'clusters' } }]);
  });

  it('names ControlPlaneMissing where there is no such parameter', async () => {
    aws.ssm.on(GetParameterCommand).rejects(Object.assign(new Error('gone'), { name: 'ParameterNotFound' }));
    expect(await redoubt('clusters --name nowhere')).toMatchObject({
      exit: 123,
      out: '',
      err: expect.stringMatching(/^error: ControlPlaneMissing: .*\/redoubt\/nowhere\/control-plane\nhint: .+/),
    });
  });

  it.each([
    ['AccessDeniedException', {}, 'AccessDenied', 119],
    ['CredentialsProviderError', {}, 'AccessDenied', 119],
    ['Error', { code: 'ECONNREFUSED' }, 'ControlPlaneUnreachable', 125],
    ['ThrottlingException', {}, 'ServiceUnavailable', 124],
    ['ServiceException', { $metadata: { httpStatusCode: 500 } }, 'ServiceUnavailable', 124],
    ['SomethingNew', {}, 'Unexpected', 199],
  ])('calls AWS’s %s %o by the name %s', async (name, facts, code, exit) => {
    aws.ssm.on(GetParameterCommand).rejects(Object.assign(new Error('so it is'), { name, ...facts }));
    expect(await redoubt('clusters')).toMatchObject({ exit, err: expect.stringContaining(`error: ${code}: `) });
  });
});

describe('errors', () => {
  it('a refusal of the control plane keeps its name, its exit code and its hint', async () => {
    givenAnswers({ throws: 'UnknownCluster', message: 'there is no cluster shop' });
    expect(await redoubt('backups shop')).toMatchObject({
      exit: 12,
      out: '',
      err: 'error: UnknownCluster: there is no cluster shop\nhint: List the clusters with `redoubt clusters`, or apply its file first.',
    });
  });

  it('with --json stdout is one document in failure too', async () => {
    givenAnswers({ throws: 'UnknownCluster', message: 'there is no cluster shop' });
    const { out } = await redoubt('backups shop --json');
    expect(JSON.parse(out)).toEqual({
      error: { code: 'UnknownCluster', detail: 'there is no cluster shop', hint: expect.any(String) },
    });
  });

  it.each(['--json', 'keys --json'])(
    '“redoubt %s”, which names no command, is InvalidInput with a document',
    async (line) => {
      const { exit, out, err } = await redoubt(line);
      expect(exit).toBe(10);
      expect(JSON.parse(out)).toMatchObject({ error: { code: 'InvalidInput', detail: 'a command is missing' } });
      expect(err).toMatch(/^Usage: redoubt/);
    },
  );

  it('a function that died without a name of ours is Unexpected, with what it said', async () => {
    givenAnswers({ throws: 'TypeError', message: 'x is undefined' });
    expect(await redoubt('backups shop')).toMatchObject({
      exit: 199,
      err: expect.stringContaining('TypeError: x is undefined'),
    });
  });

  it.each([
    ['backup', "missing required argument 'cluster'"],
    ['backup shop --full --incremental', 'cannot be used with'],
    ['bakcup shop', "unknown command 'bakcup'"],
    ['backup Shop', 'a cluster name has 3 to 40'],
    ['restore shop', "required option '--to <point>'"],
    ['restore shop --to yesterday', 'neither "latest", nor a backup id'],
    ['restore shop --to 2026-11-22T05:12:00', 'with its zone'],
    ['restore shop --to latest --mode overwrite', 'Allowed choices are prepare-only, replace'],
    ['runs --limit 0', 'from 1 to 500'],
    ['watch a/b', 'a run id has'],
    ['backup shop --apply-log', 'that is an option of the engine: a restore does it by itself'],
    ['backup shop --incremental-basedir=/b', 'that is an option of the engine: Redoubt knows the chain'],
    ['restore shop --to latest --use-memory=1G', 'that is an option of the engine: limits.prepareMemory'],
  ])('“redoubt %s” is InvalidInput and asks nobody', async (line, words) => {
    expect(await redoubt(line)).toMatchObject({ exit: 10, err: expect.stringContaining(words) });
    expect(aws.ssm.calls()).toEqual([]);
  });
});

describe('cluster apply', () => {
  const files = { 'shop.yaml': 'cluster: shop\n' };

  it('sends the text of the file and shows what changed', async () => {
    givenAnswers({
      config,
      schedule: 'redoubt-shop',
      changes: ['hosts: i-0123456789abcdef0 added', 'policy.schedule: rate(6 hours)'],
    });
    const { exit, out } = await redoubt('cluster apply -f shop.yaml', { files });
    expect(exit).toBe(0);
    expect(out).toBe('shop: changed\n  hosts: i-0123456789abcdef0 added\n  policy.schedule: rate(6 hours)');
    expect(invocations()).toEqual([
      { functionName: 'redoubt-apply-cluster', input: { file: files['shop.yaml'], dryRun: false } },
    ]);
  });

  it('says in one line that a cluster is new', async () => {
    givenAnswers({ config, changes: ['cluster: "shop"', 'policy.fullEveryDays: 7'] });
    expect((await redoubt('cluster apply -f shop.yaml', { files })).out).toBe(
      'shop: registered; see redoubt cluster show shop',
    );
  });

  it('with --dry-run only asks what would change', async () => {
    givenAnswers({ config, changes: ['policy.schedule: rate(6 hours)'] });
    expect((await redoubt('cluster apply -f shop.yaml --dry-run', { files })).out).toContain('would change');
    expect(invocations()[0]?.input).toMatchObject({ dryRun: true });
  });

  it('says so when nothing changes', async () => {
    givenAnswers({ config, changes: [] });
    expect((await redoubt('cluster apply -f shop.yaml', { files })).out).toBe('shop: nothing to change');
  });

  it('shows every problem of a malformed file', async () => {
    givenAnswers({ throws: 'InvalidClusterFile', message: 'line 3: engine: …\nline 9: hosts: …' });
    const { exit, err } = await redoubt('cluster apply -f shop.yaml', { files });
    expect(exit).toBe(11);
    expect(err).toContain('line 3: engine: …\nline 9: hosts: …');
  });
});

describe('clusters, cluster show', () => {
  it('lists the clusters and when each was last backed up', async () => {
    givenAnswers({
      clusters: [{ config, latest: backup(1) }, { config: { ...config, cluster: 'stock', policy: {} } }],
    });
    expect((await redoubt('clusters')).out).toBe(
      `
cluster  engine          host                 schedule       last backup (UTC)
shop     mariadb-backup  i-0123456789abcdef0  rate(6 hours)  2026-11-22 05:13:12
stock    mariadb-backup  i-0123456789abcdef0  on demand      never`.slice(1),
    );
  });

  it('shows who works on a cluster and its settings with every default', async () => {
    givenAnswers({ config, holder: runId });
    const { out } = await redoubt('cluster show shop');
    expect(out).toContain(`working now  ${runId}`);
    expect(out).toContain('last backup  never');
    expect(out).toContain('maxIncrements: 28');
  });
});

describe('backups', () => {
  it('draws each chain: backups in order, LSNs, durations, sizes', async () => {
    givenAnswers({ chains: [chain], backups: [backup(1), backup(0), backup(2, { storedBytes: 105_500_000 })] });
    expect((await redoubt('backups shop')).out).toBe(
      `
chain 20261122T051210Z-3f9a1c: 3 backups, 306 MiB, from i-0123456789abcdef0
begun because the cluster has no chain yet
  backup                         taken (UTC)           took   from LSN     to LSN   stored
● 20261122T051210Z-f0000-3f9a1c  2026-11-22 05:12:10  8.0 s          0  634713345  201 MiB  ████████████████████
├ 20261122T051310Z-i0001-3f9a1c  2026-11-22 05:13:10  2.0 s  634713345  634714345  4.1 MiB  ▍
└ 20261122T051410Z-i0002-3f9a1c  2026-11-22 05:14:10  2.0 s  634714345  634715345  101 MiB  ██████████`.slice(1),
    );
  });

  it('shows how many keys each keyring had, and a rotation between two backups', async () => {
    const keyring = (...keyIds: string[]) => ({ keyring: { fingerprint: 'a'.repeat(64), keyIds } });
    const [one, two] = ['INNODBKey-u-1#0123456789abcdef', 'INNODBKey-u-2#0123456789abcdef'];
    givenAnswers({
      chains: [chain],
      backups: [
        backup(0, keyring(one)),
        backup(1, keyring(one, 'XBKey-u-x#0123456789abcdef')),
        backup(2, keyring(one, two)),
      ],
    });
    const { out } = await redoubt('backups shop');
    expect(out.split('\n').map((line) => /keyring|\d keys?(, \d new)?/.exec(line)?.[0])).toEqual(
      expect.arrayContaining(['keyring', '1 key', '1 key', '2 keys, 1 new']),
    );
  });

  it('keeps LSNs beyond 2^53 exact in --json', async () => {
    givenAnswers({ chains: [chain], backups: [backup(0, { toLsn: '18446744073709551615' })] });
    expect(JSON.parse((await redoubt('backups shop --json')).out).backups[0].toLsn).toBe('18446744073709551615');
  });

  it('says how to take the first one', async () => {
    givenAnswers({ chains: [], backups: [] });
    expect((await redoubt('backups shop')).out).toBe('no backup yet: redoubt backup shop');
  });
});

describe('backup', () => {
  it.each([
    ['backup shop', { cluster: 'shop', kind: 'auto' }],
    ['backup shop --full --reason monthly', { cluster: 'shop', kind: 'full', reason: 'monthly' }],
    ['backup shop --incremental', { cluster: 'shop', kind: 'incremental' }],
  ])('“redoubt %s” starts one execution with %o', async (line, input) => {
    givenExecution({ status: 'RUNNING' });
    const { exit, out } = await redoubt(line);
    expect(exit).toBe(0);
    expect(out).toBe(`${runId} started; follow it with: redoubt watch ${runId}`);
    expect(started()).toEqual([{ machine: address.stateMachines.backup, name: runId, input }]);
  });

  it('with --json names the run and its execution', async () => {
    givenExecution({ status: 'RUNNING' });
    expect(JSON.parse((await redoubt('backup shop --json')).out)).toEqual({
      run: runId,
      execution: `arn:aws:states:us-east-1:111122223333:execution:redoubt-back-up-a-cluster:${runId}`,
    });
  });

  it('with --wait shows a bar with bytes, speed and estimate, clears it, and prints the run', async () => {
    givenExecution(
      { status: 'RUNNING' },
      { status: 'RUNNING' },
      { status: 'RUNNING' },
      { status: 'SUCCEEDED', output: '{}' },
    );
    givenAnswers(
      { throws: 'UnknownRun', message: 'not planned yet' },
      { run: run(), progress: progress() },
      { run: run(), progress: progress({ at: '2026-11-22T05:12:14Z', bytes: 200 * 1024 * 1024 }) },
      { run: run({ state: 'succeeded', endedAt: '2026-11-22T05:12:18Z' }) },
    );
    const { exit, out, statuses } = await redoubt('backup shop --wait', { isTty: true });
    expect(exit).toBe(0);
    expect(statuses).toEqual([
      'planning',
      'copying             ██████·················· 25 %  100 MiB of about 400 MiB',
      'copying             ████████████············ 50 %  200 MiB of about 400 MiB  50.0 MiB/s  4.0 s left',
      '',
    ]);
    expect(out).toContain('state        succeeded');
    expect(out).toContain('ended        2026-11-22 05:12:18 UTC, after 8.0 s');
  });

  it('with --wait and --json is one document, and the name of the run on stderr, also where the run fails', async () => {
    givenExecution({ status: 'RUNNING' }, { status: 'FAILED', error: 'HostSilent', cause: 'no heartbeat' });
    givenAnswers({ run: run(), progress: progress() });
    const { exit, out, err } = await redoubt('backup shop --wait --json');
    expect(exit).toBe(35);
    expect(JSON.parse(out).error).toMatchObject({ code: 'HostSilent', detail: 'no heartbeat' });
    expect(err.split('\n')).toEqual([runId, 'error: HostSilent: no heartbeat', expect.stringMatching(/^hint: /)]);
  });

  it('without a terminal writes plain lines, one a phase', async () => {
    givenExecution({ status: 'RUNNING' }, { status: 'RUNNING' }, { status: 'RUNNING' }, { status: 'SUCCEEDED' });
    givenAnswers(
      { run: run(), progress: progress() },
      { run: run(), progress: progress() },
      { run: run(), progress: progress({ phase: 'checking', bytes: 0 }) },
      { run: run() },
    );
    const { err, statuses } = await redoubt('backup shop --wait');
    expect(statuses).toEqual([]);
    expect(err.split('\n').map((line) => line.split(' ')[0])).toEqual([runId, 'copying', 'checking']);
  });
});

describe('a run that fails', () => {
  it('gives its own error and exit code, from the agent’s words', async () => {
    const cause = JSON.stringify({ code: 'DiskFull', detail: '/tmp has 0 bytes left', hint: 'Free it.' });
    givenExecution({ status: 'FAILED', error: 'DiskFull', cause });
    givenAnswers({ run: run({ state: 'failed' }) });
    expect(await redoubt('backup shop --wait')).toMatchObject({
      exit: 78,
      err: expect.stringContaining('error: DiskFull: /tmp has 0 bytes left'),
    });
  });

  it.each([
    [
      'a function’s words',
      {
        status: 'FAILED',
        error: 'BackupInProgress',
        cause: '{"errorType":"BackupInProgress","errorMessage":"held by x"}',
      },
      16,
      'BackupInProgress: held by x',
    ],
    ['plain words', { status: 'FAILED', error: 'HostSilent', cause: 'no heartbeat' }, 35, 'HostSilent: no heartbeat'],
    [
      'an error of Step Functions itself',
      { status: 'FAILED', error: 'States.Runtime', cause: 'bad path' },
      199,
      'Unexpected: States.Runtime: bad path',
    ],
    ['an abort', { status: 'ABORTED', cause: 'by the operator' }, 37, 'RunCancelled: by the operator'],
    ['a timeout', { status: 'TIMED_OUT' }, 37, 'RunCancelled: '],
  ])('is told from %s', async (_what, look, exit, words) => {
    givenExecution(look);
    givenAnswers({ run: run() });
    expect(await redoubt(`watch ${runId}`)).toMatchObject({ exit, err: expect.stringContaining(`error: ${words}`) });
  });
});

describe('what passes while a run is watched', () => {
  const away = Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' });

  it.each([
    ['a network that is down for a while', away],
    ['a service that throttles', Object.assign(new Error('Rate exceeded'), { name: 'ThrottlingException' })],
    [
      'a service that fails',
      Object.assign(new Error('oops'), { name: 'ServiceException', $metadata: { httpStatusCode: 500 } }),
    ],
    ['an execution that is too new to be known', noSuchExecution],
  ])('%s is not how the run ended', async (_what, passing) => {
    givenExecution(passing, passing, { status: 'SUCCEEDED' });
    givenAnswers({ run: run({ state: 'succeeded' }) });
    expect(await redoubt('backup shop --wait')).toMatchObject({ exit: 0 });
  });

  it.each([
    ['a network that stays away', away, 125],
    ['an execution that is never known', noSuchExecution, 14],
  ])('%s ends the watching by its name', async (_what, passing, exit) => {
    givenExecution(passing);
    expect((await redoubt('backup shop --wait')).exit).toBe(exit);
  });
});

describe('watch', () => {
  it('finds a restore by its run id too', async () => {
    givenExecution(noSuchExecution, { status: 'SUCCEEDED' });
    givenAnswers({ run: run({ kind: 'restore', state: 'succeeded' }) });
    expect((await redoubt(`watch ${runId}`)).exit).toBe(0);
  });

  it('names UnknownRun where there is no such execution', async () => {
    givenExecution(noSuchExecution);
    expect(await redoubt('watch nothing-there')).toMatchObject({ exit: 14 });
  });
});

describe('restore', () => {
  it.each([
    [
      'restore shop --to latest --mode replace --confirm shop --instance i-0123456789abcdef0',
      {
        cluster: 'shop',
        to: { kind: 'latest' },
        target: { mode: 'replace', instance: 'i-0123456789abcdef0' },
        confirm: 'shop',
      },
    ],
    [
      'restore shop --to 20261122T051310Z-i0001-3f9a1c --directory /srv/restored',
      {
        cluster: 'shop',
        to: { kind: 'backup', backup: '20261122T051310Z-i0001-3f9a1c' },
        target: { mode: 'prepare-only', directory: '/srv/restored' },
      },
    ],
    [
      'restore shop --to 2026-11-22T06:12:00+01:00 --directory /srv/restored',
      {
        cluster: 'shop',
        to: { kind: 'time', time: '2026-11-22T05:12:00.000Z' },
        target: { mode: 'prepare-only', directory: '/srv/restored' },
      },
    ],
  ])('“redoubt %s” starts one execution', async (line, input) => {
    givenExecution({ status: 'RUNNING' });
    expect((await redoubt(line)).exit).toBe(0);
    expect(started()).toEqual([
      { machine: address.stateMachines.restore, name: 'shop-restore-20261122T051210Z-3f9a1c', input },
    ]);
  });
});

describe('approve', () => {
  const waiting = [
    { type: 'TaskSubmitted' },
    { type: 'TaskStarted' },
    {
      type: 'TaskScheduled',
      taskScheduledEventDetails: {
        resourceType: 'sns',
        resource: 'publish.waitForTaskToken',
        parameters: JSON.stringify({
          Message: 'Approve:\naws … --task-token AQC/token+1=\n\nDeny:\naws … --task-token AQC/token+1=\n',
        }),
      },
    },
  ];

  it('answers the token that the restore waits with', async () => {
    givenExecution({ status: 'RUNNING' });
    givenHistory(waiting);
    expect(await redoubt('approve shop-restore-1')).toMatchObject({ exit: 0, out: 'shop-restore-1 approved' });
    expect(approvals()).toEqual([{ taskToken: 'AQC/token+1=', output: '{}' }]);
  });

  it('refuses it with a reason', async () => {
    givenExecution({ status: 'RUNNING' });
    givenHistory(waiting);
    expect((await redoubt('approve shop-restore-1 --deny not-today')).out).toBe('shop-restore-1 denied');
    expect(approvals()).toEqual([{ taskToken: 'AQC/token+1=', error: 'ApprovalDenied', cause: 'not-today' }]);
  });

  it.each([
    ['has not come so far', { status: 'RUNNING' }, [{ type: 'TaskStarted' }]],
    [
      'waits for its host, not for a person',
      { status: 'RUNNING' },
      [
        { type: 'TaskSubmitted' },
        {
          type: 'TaskScheduled',
          taskScheduledEventDetails: {
            resourceType: 'lambda',
            resource: 'invoke.waitForTaskToken',
            parameters: '--task-token x',
          },
        },
      ],
    ],
    ['has ended', { status: 'SUCCEEDED' }, waiting],
  ])('approves nothing where the run %s', async (_what, look, events) => {
    givenExecution(look);
    givenHistory(events);
    expect(await redoubt('approve shop-restore-1')).toMatchObject({
      exit: 10,
      err: expect.stringContaining('does not wait for an approval'),
    });
    expect(approvals()).toEqual([]);
  });
});

describe('runs, run', () => {
  it('lists what was done with its outcome, its duration and its reason', async () => {
    givenAnswers({
      runs: [
        run({ run: 'shop-restore-1', kind: 'restore', reason: 'the latest backup' }),
        run({ run: 'shop-backup-2', state: 'failed', error: 'DiskFull', seq: 3, endedAt: '2026-11-22T05:13:30Z' }),
      ],
    });
    expect((await redoubt('runs shop')).out).toBe(
      `
run             state             started (UTC)              took  what and why
shop-restore-1  asked             2026-11-22 05:12:10              restore: the latest backup
shop-backup-2   failed: DiskFull  2026-11-22 05:12:10  1 min 20 s  increment 3: the cluster has no chain yet`.slice(1),
    );
    expect(invocations()[0]?.input).toEqual({ query: 'runs', cluster: 'shop', limit: 20 });
  });

  it('lists and shows what ended before it was planned, with its cause', async () => {
    const refused = {
      run: 'shop-backup-3',
      cluster: 'shop',
      kind: 'backup',
      state: 'refused',
      execution: 'arn:aws:states:us-east-1:111122223333:execution:redoubt-back-up:shop-backup-3',
      startedAt: '2026-11-22T05:12:10Z',
      endedAt: '2026-11-22T05:12:12Z',
      error: 'BackupInProgress',
      detail: 'run shop-backup-2 holds shop since 05:00',
    };
    givenAnswers({ runs: [refused] });
    expect((await redoubt('runs shop')).out.split('\n').at(-1)).toMatch(
      /^shop-backup-3 +refused: BackupInProgress +2026-11-22 05:12:10 +2\.0 s +backup: run shop-backup-2 holds shop since/,
    );
    givenAnswers({ run: refused });
    const { out } = await redoubt('run shop-backup-3');
    expect(out).toContain('state        refused');
    expect(out).toContain('what         backup of shop, ended before it was planned');
    expect(out).toContain('error        BackupInProgress: run shop-backup-2 holds shop');
    expect(out).not.toContain('undefined');
  });

  it('shows a failed run with its hint', async () => {
    givenAnswers({ run: run({ state: 'failed', error: 'DiskFull', detail: '/tmp' }) });
    const { exit, out } = await redoubt(`run ${runId}`);
    expect(exit).toBe(0);
    expect(out).toContain('error        DiskFull: /tmp\nhint         A disk is full');
  });

  it('shows what a host answered', async () => {
    const answer = {
      kind: 'restore',
      backup: '20261122T051210Z-f0000-3f9a1c',
      directory: '/var/lib/mysql',
      movedAside: '/var/lib/mysql.before-x',
      restoredBytes: 600_000_000,
      seconds: { downloading: 4.2, preparing: 12 },
    };
    givenAnswers({ run: run({ kind: 'restore', state: 'succeeded', answer }) });
    const { out } = await redoubt(`run ${runId}`);
    expect(out).toContain('result       572 MiB in /var/lib/mysql');
    expect(out).toContain('moved aside  /var/lib/mysql.before-x');
    expect(out).toContain('phases       downloading 4.2 s, preparing 12 s');
  });
});

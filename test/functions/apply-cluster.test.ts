import { beforeEach, describe, expect, it } from 'vitest';
import { RedoubtError } from '#core/errors.ts';
import { applyCluster } from '#functions/apply-cluster/apply-cluster.ts';
import { parseClusterFile } from '#functions/apply-cluster/parse-cluster-file.ts';
import { fakeSchedules } from '../doubles/fake-schedules.ts';
import { inMemoryCatalog } from '../doubles/in-memory-catalog.ts';
import { recordedLog } from '../doubles/recorded-log.ts';
import { ROLE, SHOP } from '../doubles/sample-manifest.ts';

const file = (policy: string, rest = '') => `# The shop's database
cluster: shop
engine: mariadb-backup
server:
  socket: /run/mysqld/mysqld.sock
  dataDirectory: /var/lib/mysql
  optionFile: /etc/redoubt/client.cnf
hosts:
  - instance: i-0123456789abcdef0
    role: ${ROLE}
policy:
${policy}
${rest}`;

const problemsOf = (text: string): readonly string[] => {
  const parsed = parseClusterFile(text);
  if (parsed.kind === 'valid') throw new Error('it is valid');
  return parsed.problems;
};

describe('reading a cluster file', () => {
  it('takes a valid one, with its defaults', () => {
    expect(parseClusterFile(file('  schedule: rate(6 hours)'))).toMatchObject({
      kind: 'valid',
      config: { cluster: 'shop', policy: { schedule: 'rate(6 hours)', fullEveryDays: 7 } },
    });
  });

  it('names every problem at once, each where it stands', () => {
    const problems = problemsOf(
      file('  schedule: every day\n  maxIncrements: -1\n  timezone: Mars', 'limits:\n  parallel: many\n'),
    );
    expect(problems.map((problem) => problem.split(' ').slice(0, 2).join(' '))).toEqual([
      '12:3 policy.schedule:',
      '13:3 policy.maxIncrements:',
      '14:3 policy.timezone:',
      '16:3 limits.parallel:',
    ]);
  });

  it.each([
    ['a misspelt key', '  fullEveryDay: 3', '12:3 policy.fullEveryDay: unknown key; did you mean fullEveryDays?'],
    ['another case', '  max_increments: 3', '12:3 policy.max_increments: unknown key; did you mean maxIncrements?'],
    ['a key of nothing', '  colour: red', '12:3 policy.colour: unknown key'],
    ['an unknown time zone', '  timezone: Europe/Atlantis', '12:3 policy.timezone: Europe/Atlantis is not a time zone'],
  ])('suggests what was meant by %s', (_, policy, problem) => {
    expect(problemsOf(file(policy))).toEqual([problem]);
  });

  it.each([
    ['apply-log: true', /apply-log: unknown key; that is an option of the engine: a restore does it by itself/],
    ['redo-only: true', /redo-only: .*a restore does it by itself/],
    ['incremental_basedir: /b', /incremental_basedir: .*Redoubt knows the chain and each parent/],
    ['stream: tar', /stream: .*every backup is streamed, as xbstream/],
    ['compress: true', /compress: .*limits\.compressionLevel/],
    ['encrypt-key: x', /encrypt-key: .*KMS makes the keys/],
    ['remove-original: true', /remove-original: .*removed once it is proven/],
    ['no-lock: true', /no-lock: .*refused: without its lock/],
    ['tables: app.t', /tables: .*refused: a backup holds every table/],
    ['slave-info: true', /slave-info: .*engineOptions\.slaveInfo/],
    ['engineOptions: {target-dir: /b}', /engineOptions\.target-dir: .*the agent says where the engine writes/],
    ['engineOptions: {slave-info: true}', /engineOptions\.slave-info: .*engineOptions\.slaveInfo/],
    ['engineOptions: {lockDdl: REDUCED}', /engineOptions\.lockDdl: REDUCED is refused: .* tables went missing/],
    ['history: {incrementBy: date}', /history\.incrementBy: /],
    ['history: {name: "x y"}', /history\.name: up to 64 letters/],
  ])('answers the habit of an engine, %s, with what does that here', (line, problem) => {
    expect(problemsOf(file('  maxIncrements: 3', `${line}\n`))).toEqual([expect.stringMatching(problem)]);
  });

  it('answers innobackupex with the program it has become', () => {
    expect(problemsOf(file('  maxIncrements: 3').replace('mariadb-backup', 'innobackupex'))).toEqual([
      '3:1 engine: innobackupex is xtrabackup since 2.3; write xtrabackup',
    ]);
  });

  it('suggests keys inside a list', () => {
    const text = file('  maxIncrements: 3').replace(`role: ${ROLE}`, `role: ${ROLE}\n    agentdir: /srv/redoubt`);
    expect(problemsOf(text)).toEqual(['11:5 hosts.0.agentdir: unknown key; did you mean agentDirectory?']);
  });

  it('suggests keys inside a choice of forms', () => {
    const text = file('  maxIncrements: 3').replace(
      'server:\n',
      'server:\n  control: {kind: systemd, unit: x, strat: y}\n',
    );
    expect(problemsOf(text)).toEqual(['5:37 server.control.strat: unknown key; did you mean start?']);
  });

  it('places a missing key at what it is missing from', () => {
    const text = file('  maxIncrements: 3').replace('  socket: /run/mysqld/mysqld.sock\n', '');
    expect(problemsOf(text)).toEqual([expect.stringMatching(/^4:1 server\.socket: /)]);
  });

  it.each([
    ['a syntax error', 'cluster: shop\nserver: {socket: [}\n', /^2:/],
    ['a key that stands there twice', 'cluster: shop\ncluster: other\n', /^2:1 .*unique/],
    ['an empty file', '', /^1:1 /],
    ['a list', '- shop\n', /^1:1 /],
  ])('says where %s is', (_, text, problem) => {
    expect(problemsOf(text)[0]).toMatch(problem);
  });

  it('never hides one host behind another', () => {
    const twice = file('  maxIncrements: 3').replace(
      'hosts:\n',
      `hosts:\n  - {instance: i-0123456789abcdef0, role: '${ROLE}'}\n`,
    );
    expect(problemsOf(twice)).toEqual([expect.stringContaining('twice')]);
  });
});

describe('applying a cluster file', () => {
  const world = () => ({ ...inMemoryCatalog(), schedules: fakeSchedules(), log: recordedLog() });
  let deps: ReturnType<typeof world>;
  beforeEach(() => {
    deps = world();
  });

  const apply = (text: string, dryRun = false) => applyCluster(deps, { file: text, dryRun });

  it('writes the configuration and the schedule, and says what changed', async () => {
    const answer = await apply(file('  schedule: rate(6 hours)\n  timezone: Europe/Berlin'));
    expect(answer.schedule).toBe('redoubt-shop');
    expect(answer.changes).toContain('policy.schedule: "rate(6 hours)"');
    expect(deps.schedules.schedules.get('redoubt-shop')).toEqual({
      cluster: SHOP,
      expression: 'rate(6 hours)',
      timezone: 'Europe/Berlin',
    });
    expect(await deps.clusters.get(SHOP)).toEqual(answer.config);
  });

  it('says nothing changed when the same file is applied again, and repairs a schedule that is gone', async () => {
    await apply(file('  schedule: rate(6 hours)'));
    deps.schedules.schedules.clear();
    expect((await apply(file('  schedule: rate(6 hours)'))).changes).toEqual([]);
    expect(deps.schedules.schedules.size).toBe(1);
  });

  it('names each difference to what was applied before', async () => {
    await apply(file('  schedule: rate(6 hours)\n  maxIncrements: 3'));
    const { changes } = await apply(file('  maxIncrements: 4'));
    expect(changes).toEqual(['policy.maxIncrements: 3 → 4', 'policy.schedule: "rate(6 hours)" is gone']);
  });

  it('removes the schedule of a policy that has none any more', async () => {
    await apply(file('  schedule: rate(6 hours)'));
    const answer = await apply(file('  maxIncrements: 4'));
    expect(answer.schedule).toBeUndefined();
    expect(deps.schedules.schedules.size).toBe(0);
  });

  it('changes nothing in a dry run', async () => {
    const answer = await apply(file('  schedule: rate(6 hours)'), true);
    expect(answer).toMatchObject({ schedule: 'redoubt-shop', changes: expect.arrayContaining(['cluster: "shop"']) });
    expect(await deps.clusters.get(SHOP)).toBeUndefined();
    expect(deps.schedules.schedules.size).toBe(0);
  });

  it('refuses an invalid file with every problem, one a line, and changes nothing', async () => {
    await expect(apply(file('  colour: red\n  maxIncrements: -1'))).rejects.toMatchObject({
      name: 'InvalidClusterFile',
      detail: expect.stringMatching(/^12:3 policy\.colour: unknown key\n13:3 policy\.maxIncrements: /),
    });
    expect(await deps.clusters.get(SHOP)).toBeUndefined();
  });

  it('refuses encryption that the engine cannot do, dry run or not, and names the alternative', async () => {
    const text = file('  maxIncrements: 3', 'encryption: {mode: native}\n');
    for (const dryRun of [true, false])
      await expect(apply(text, dryRun)).rejects.toMatchObject({
        name: 'EncryptionUnsupported',
        detail: expect.stringMatching(/^encryption\.mode: .*write mode: sealed$/),
      });
    expect(await deps.clusters.get(SHOP)).toBeUndefined();
  });

  it('refuses an option that the engine has in no version', async () => {
    const text = file('  maxIncrements: 3', 'engineOptions: {slaveInfo: true, lockDdl: true, pageTracking: true}\n');
    await expect(apply(text)).rejects.toMatchObject({
      name: 'OptionUnsupported',
      detail:
        'engineOptions.lockDdl: mariadb-backup has no --lock-ddl; leave it out\n' +
        'engineOptions.pageTracking: mariadb-backup has no --page-tracking; leave it out',
    });
    expect(await deps.clusters.get(SHOP)).toBeUndefined();
  });

  it('keeps no configuration whose schedule was not accepted', async () => {
    deps.schedules.put = async () => {
      throw new RedoubtError('InvalidClusterFile', 'policy: not accepted');
    };
    await expect(apply(file('  schedule: cron(99 * * * ? *)'))).rejects.toMatchObject({ name: 'InvalidClusterFile' });
    expect(await deps.clusters.get(SHOP)).toBeUndefined();
  });
});

/** Records as the query function answers them: in the wire's form. */
const sha256 = 'a'.repeat(64);

export const chain = {
  cluster: 'shop',
  chain: '20261122T051210Z-3f9a1c',
  createdAt: '2026-11-22T05:12:10Z',
  host: 'i-0123456789abcdef0',
  reason: 'the cluster has no chain yet',
};

export const backup = (seq: number, facts: object = {}): object => {
  const minute = String(12 + seq).padStart(2, '0');
  return {
    cluster: 'shop',
    chain: chain.chain,
    backup: `20261122T05${minute}10Z-${seq === 0 ? 'f' : 'i'}${String(seq).padStart(4, '0')}-3f9a1c`,
    seq,
    kind: seq === 0 ? 'full' : 'incremental',
    reason: seq === 0 ? chain.reason : 'continues',
    run: `shop-backup-20261122T05${minute}10Z-aaaaaa`,
    host: chain.host,
    engine: 'mariadb-backup',
    manifestKey: `clusters/shop/chains/${chain.chain}/000${seq}-x/manifest.json`,
    manifestSha256: sha256,
    startedAt: `2026-11-22T05:${minute}:10Z`,
    endedAt: `2026-11-22T05:${minute}:${seq === 0 ? 18 : 12}Z`,
    fromLsn: seq === 0 ? '0' : String(634_712_345 + seq * 1000),
    toLsn: String(634_713_345 + seq * 1000),
    lastLsn: String(634_713_399 + seq * 1000),
    storedBytes: seq === 0 ? 211_000_000 : 4_300_000,
    streamBytes: 500_000_000,
    restoredBytes: 600_000_000,
    serverVersion: '10.11.19-MariaDB',
    engineVersion: '10.11.19',
    ...facts,
  };
};

export const run = (facts: object = {}): object => ({
  run: 'shop-backup-20261122T051210Z-3f9a1c',
  cluster: 'shop',
  kind: 'backup',
  state: 'asked',
  execution:
    'arn:aws:states:us-east-1:111122223333:execution:redoubt-back-up-a-cluster:shop-backup-20261122T051210Z-3f9a1c',
  startedAt: '2026-11-22T05:12:10Z',
  reason: 'the cluster has no chain yet',
  host: chain.host,
  chain: chain.chain,
  backup: '20261122T051210Z-f0000-3f9a1c',
  seq: 0,
  attempt: 1,
  ...facts,
});

export const progress = (facts: object = {}): object => ({
  run: 'shop-backup-20261122T051210Z-3f9a1c',
  cluster: 'shop',
  kind: 'backup',
  phase: 'copying',
  bytes: 100 * 1024 * 1024,
  expectedBytes: 400 * 1024 * 1024,
  files: 12,
  startedAt: '2026-11-22T05:12:10Z',
  at: '2026-11-22T05:12:12Z',
  ...facts,
});

export const config = {
  cluster: 'shop',
  engine: 'mariadb-backup',
  server: {
    socket: '/run/mysqld/mysqld.sock',
    dataDirectory: '/var/lib/mysql',
    optionFile: '/etc/redoubt/shop.cnf',
  },
  hosts: [{ instance: chain.host, role: 'arn:aws:iam::111122223333:role/shop-database' }],
  policy: { schedule: 'rate(6 hours)' },
};

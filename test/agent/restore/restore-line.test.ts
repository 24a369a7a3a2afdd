import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { checkLine, parseManifest } from '#agent/restore/restore-line.ts';
import { signManifest } from '#agent/stream/manifest-mac.ts';
import type { RestoreStep } from '#core/agent-protocol.ts';
import { chainIdSchema, clusterIdSchema, newBackupId, runIdSchema } from '#core/ids.ts';
import { lsn } from '#core/lsn.ts';
import { encodeManifest, type Manifest } from '#core/manifest.ts';

const cluster = clusterIdSchema.parse('orders');
const chain = chainIdSchema.parse('20261122T051210Z-3f9a1c');
const dataKey = randomBytes(32);
const digest = (seq: number): string => String(seq).repeat(64).slice(0, 64);
const backupOf = (seq: number) => newBackupId(new Date(Date.UTC(2026, 10, 22, 6, seq)), chain, seq);
const object = { key: 'k', bytes: 1, sha256: digest(0) };

const manifestOf = (seq: number, overrides: Partial<Manifest> = {}): Manifest =>
  signManifest(
    {
      format: 'redoubt-manifest',
      version: 1,
      cluster,
      chain,
      backup: backupOf(seq),
      seq,
      kind: seq === 0 ? 'full' : 'incremental',
      ...(seq === 0 ? {} : { parent: { backup: backupOf(seq - 1), manifestSha256: digest(seq - 1) } }),
      run: runIdSchema.parse('run'),
      fencingToken: 1,
      reason: 'test',
      host: 'i-0123456789abcdef0' as Manifest['host'],
      startedAt: '2026-11-22T06:00:00.000Z',
      endedAt: '2026-11-22T06:00:01.000Z',
      agentVersion: '0.0.0',
      engine: { name: 'mariadb-backup', version: '10.11.19', series: '10.11' },
      server: {
        identity: { uuid: 'u', dataDirectory: '/d', flavour: 'mariadb', series: '10.11', pageSize: 16384 },
        version: '10.11.19-MariaDB',
      },
      checkpoints: {
        type: seq === 0 ? 'full-backuped' : 'incremental',
        fromLsn: lsn(BigInt(seq) * 100n),
        toLsn: lsn(BigInt(seq + 1) * 100n),
        lastLsn: lsn(BigInt(seq + 1) * 100n + 50n),
      },
      keys: {
        data: {
          kmsKey: 'arn:aws:kms:us-east-1:000000000000:key/1',
          ciphertext: 'AAAA',
          context: { cluster, chain, purpose: 'backup-data' },
        },
      },
      stream: { format: 'xbstream', compression: 'zstd', encryption: 'sealed', bytes: 1, files: 1, segmentBytes: 1 },
      segments: [object],
      inventory: object,
      engineLog: object,
      restoredBytes: 1,
      ...overrides,
    },
    dataKey,
  );

const stepOf = (manifest: Manifest): RestoreStep => ({
  manifestKey: 'm',
  manifestSha256: digest(manifest.seq),
  backup: manifest.backup,
  seq: manifest.seq,
  toLsn: manifest.checkpoints.toLsn,
  lastLsn: manifest.checkpoints.lastLsn,
  bytes: 1,
  restoredBytes: 1,
});

const instruction = { cluster, chain, engine: 'mariadb-backup' } as const;
const parse = (text: string, step: RestoreStep, key = dataKey) =>
  parseManifest(Buffer.from(text), step, instruction, key);

describe('a manifest', () => {
  const manifest = manifestOf(1);

  it('is taken from whoever held the data key of its chain', () => {
    expect(parse(encodeManifest(manifest), stepOf(manifest))).toEqual(manifest);
  });

  it.each([
    ['is not JSON', 'x'],
    ['lacks a field', '{"format":"redoubt-manifest"}'],
    ['is of a later version', encodeManifest(manifest).replace('"version":1', '"version":2')],
    ['was changed by somebody without the key', encodeManifest({ ...manifest, restoredBytes: 2 })],
  ])('is refused when it %s', (_what, text) => {
    expect(() => parse(text, stepOf(manifest))).toThrow(expect.objectContaining({ code: 'ManifestInvalid' }));
  });

  it('is refused when it was written with another key', () => {
    expect(() => parse(encodeManifest(manifest), stepOf(manifest), randomBytes(32))).toThrow(/key of its chain/);
  });

  it.each<[string, Partial<Manifest>]>([
    ['another backup', { backup: backupOf(2) }],
    ['another chain', { chain: chainIdSchema.parse('20261122T051210Z-ffffff') }],
    ['another cluster', { cluster: clusterIdSchema.parse('invoices') }],
    ['another engine', { engine: { name: 'xtrabackup', version: '8.0.35-30', series: '8.0' } }],
    ['other LSNs', { checkpoints: { ...manifest.checkpoints, lastLsn: lsn(999n) } }],
  ])('is refused when it is of %s than the plan says, though it is genuine', (_what, overrides) => {
    expect(() => parse(encodeManifest(manifestOf(1, overrides)), stepOf(manifest))).toThrow(
      expect.objectContaining({ code: 'ManifestInvalid' }),
    );
  });
});

describe('a line of backups', () => {
  const check = (manifests: readonly Manifest[]): void => checkLine(manifests.map(stepOf), manifests);

  it('is a full and increments that follow each other', () => {
    expect(() => check([manifestOf(0), manifestOf(1), manifestOf(2)])).not.toThrow();
  });

  it('may hold increments during which no checkpoint came: equal LSNs are in order of seq', () => {
    const idle = (seq: number): Partial<Manifest> => ({
      checkpoints: { type: 'incremental', fromLsn: lsn(100n), toLsn: lsn(100n), lastLsn: lsn(100n + BigInt(seq)) },
    });
    expect(() => check([manifestOf(0), manifestOf(1, idle(1)), manifestOf(2, idle(2))])).not.toThrow();
    expect(() => check([manifestOf(0), manifestOf(2, idle(2)), manifestOf(1, idle(1))])).toThrow(/place 2/);
  });

  it.each<[string, readonly Manifest[]]>([
    ['starts with an increment', [manifestOf(1)]],
    ['leaves one out', [manifestOf(0), manifestOf(2)]],
    ['has two fulls', [manifestOf(0), manifestOf(1, { kind: 'full' })]],
    [
      'names another parent',
      [manifestOf(0), manifestOf(1, { parent: { backup: backupOf(5), manifestSha256: digest(0) } })],
    ],
    [
      'names another manifest of its parent',
      [manifestOf(0), manifestOf(1, { parent: { backup: backupOf(0), manifestSha256: digest(7) } })],
    ],
    [
      'starts where its parent did not end',
      [
        manifestOf(0),
        manifestOf(1, {
          checkpoints: { type: 'incremental', fromLsn: lsn(99n), toLsn: lsn(200n), lastLsn: lsn(250n) },
        }),
      ],
    ],
    [
      'was taken by two series of the engine',
      [manifestOf(0), manifestOf(1, { engine: { name: 'mariadb-backup', version: '11.4.1', series: '11.4' } })],
    ],
    [
      'was taken from two servers',
      [
        manifestOf(0),
        manifestOf(1, {
          server: { ...manifestOf(1).server, identity: { ...manifestOf(1).server.identity, uuid: 'v' } },
        }),
      ],
    ],
  ])('is refused when it %s', (_what, manifests) => {
    expect(() => check(manifests)).toThrow(expect.objectContaining({ code: 'ManifestInvalid' }));
  });
});

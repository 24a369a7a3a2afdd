import { beforeEach, describe, expect, it } from 'vitest';
import { givenAnswers, givenControlPlane, invocations, redoubt } from './cli-under-test.ts';
import { backup, chain } from './records.ts';

beforeEach(() => givenControlPlane());

const to = 'arn:aws:kms:us-east-1:111122223333:key/new';
const from = 'arn:aws:kms:us-east-1:111122223333:key/old';
const second = '20261129T051210Z-aaaaaa';
const part = (id: string, state: string, facts: object = {}) => ({
  chain: id,
  state,
  from: state === 'current' ? [] : [from],
  manifests: 3,
  stale: state === 'current' ? 0 : 3,
  unreadable: [],
  ...facts,
});

describe('keys rewrap', () => {
  it('shows what would move, and how to do it', async () => {
    givenAnswers({ to, executed: false, chains: [part(chain.chain, 'stale'), part(second, 'current')] });
    const { exit, out } = await redoubt(`keys rewrap shop --to ${to}`);
    expect(exit).toBe(0);
    expect(out).toBe(
      `
to ${to}
chain                    state    manifests  to change  under
20261122T051210Z-3f9a1c  stale            3          3  ${from}
20261129T051210Z-aaaaaa  current          3          0
nothing was changed; do it with --execute`.slice(1),
    );
    expect(invocations()).toEqual([
      { functionName: 'redoubt-rewrap-keys', input: { cluster: 'shop', execute: false, to } },
    ]);
  });

  it('goes on until every chain is done', async () => {
    givenAnswers(
      { to, executed: true, chains: [part(chain.chain, 'rewrapped')], next: chain.chain },
      { to, executed: true, chains: [part(second, 'rewrapped')] },
    );
    const { out } = await redoubt('keys rewrap shop --execute --json');
    expect(JSON.parse(out)).toMatchObject({ chains: [{ chain: chain.chain }, { chain: second }] });
    expect(invocations().map(({ input }) => input)).toEqual([
      { cluster: 'shop', execute: true },
      { cluster: 'shop', execute: true, after: chain.chain },
    ]);
  });

  it('says what is left to look at', async () => {
    const unreadable = ['20261122T051310Z-i0001-3f9a1c'];
    givenAnswers({
      to,
      executed: true,
      chains: [part(chain.chain, 'rewrapped', { unreadable })],
      busy: 'shop-backup-1',
    });
    const { out } = await redoubt('keys rewrap shop --execute');
    expect(out).toContain(`not readable, left as they are: ${unreadable[0]}`);
    expect(out).toContain(`run shop-backup-1 has keys from before`);
    expect(out).toContain(`redoubt keys rewrap shop --to ${to}`);
  });

  it('passes on why it was refused', async () => {
    givenAnswers({ throws: 'KeyRefused', message: 'KMS answered AccessDeniedException' });
    expect(await redoubt('keys rewrap shop --execute')).toMatchObject({
      exit: 81,
      err: expect.stringContaining('error: KeyRefused: KMS answered AccessDeniedException'),
    });
  });
});

describe('keys shred', () => {
  it('says what can no longer be restored, and who did it is kept', async () => {
    const shredded = { at: '2026-11-22T05:12:10.000Z', by: 'ada@laptop', reason: 'ended' };
    givenAnswers({ chain: chain.chain, shredded, backups: 3, manifests: 3, versions: 4, instructions: 5 });
    const { exit, out } = await redoubt(
      `keys shred shop ${chain.chain} --confirm ${chain.chain} --last --reason ended`,
    );
    expect(exit).toBe(0);
    expect(out).toBe(
      `the keys of ${chain.chain} are shredded; 3 backups cannot be restored any more (removed: keys of 3 manifests, 4 older versions, 5 instructions)`,
    );
    expect(invocations()).toEqual([
      {
        functionName: 'redoubt-shred-keys',
        input: {
          cluster: 'shop',
          chain: chain.chain,
          confirm: chain.chain,
          last: true,
          by: 'ada@laptop',
          reason: 'ended',
        },
      },
    ]);
  });

  it('confirms nothing by itself', async () => {
    givenAnswers({ throws: 'ConfirmationMissing', message: `it needs --confirm ${chain.chain}` });
    expect(await redoubt(`keys shred shop ${chain.chain}`)).toMatchObject({ exit: 17 });
    expect(invocations()[0]?.input).not.toHaveProperty('confirm');
  });

  it.each([
    ['keys shred shop', "missing required argument 'chain'"],
    ['keys shred shop 20261122', 'a chain id looks like'],
    ['keys rewrap shop --chain x', 'a chain id looks like'],
  ])('“redoubt %s” is InvalidInput and asks nobody', async (line, words) => {
    expect(await redoubt(line)).toMatchObject({ exit: 10, err: expect.stringContaining(words) });
    expect(invocations()).toEqual([]);
  });
});

describe('backups', () => {
  const headOf = async (facts: object) => {
    givenAnswers({ chains: [{ ...chain, ...facts }], backups: [backup(0)] });
    const { out } = await redoubt('backups shop');
    return out.split('\n').slice(2, -2);
  };

  it('says nothing of encryption where it is the usual one', async () => {
    expect(await headOf({ encryption: { mode: 'sealed', transition: 'none' } })).toEqual([]);
  });

  it('says how a chain is encrypted, and where the keys of the tablespaces are', async () => {
    const encryption = { mode: 'native', algorithm: 'AES256', keyring: 'keyring-file', transition: 'passphrase' };
    expect(await headOf({ encryption })).toEqual([
      'encryption: native (AES256), keyring-file with transition passphrase',
    ]);
  });

  it('says that a chain cannot be restored, since when, by whom and why', async () => {
    const shredded = { at: '2026-11-30T10:00:00Z', by: 'ada@laptop', reason: 'contract ended' };
    expect(await headOf({ shredded })).toEqual([
      '✗ cannot be restored: its keys were shredded 2026-11-30 10:00:00 by ada@laptop (contract ended)',
    ]);
  });
});

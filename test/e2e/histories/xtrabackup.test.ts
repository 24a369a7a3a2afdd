import fc from 'fast-check';
import { describe, it } from 'vitest';
import type { XtrabackupLabOptions } from '#test/agent/keyring/xtrabackup-lab.ts';
import { isStandIn } from '#test/contract/xtrabackup/engine-home.ts';
import { checkHistories } from './check-histories.ts';
import { MysqlUnderTest } from './mysql-under-test.ts';

/** Later versions only the stand-in models; the one that was recorded is what REDOUBT_XTRABACKUP_HOME names. */
const settings = fc.constantFrom<XtrabackupLabOptions>(
  {},
  ...(isStandIn
    ? [
        { version: '2.4.29' },
        { version: '8.0.35' },
        { version: '8.0.35', component: true },
        { version: '8.4.0', component: true },
      ]
    : []),
);

describe('random histories of a MySQL with keyring_file', () => {
  it('restore exactly, from every backup of them, or are refused by name', async () => {
    await checkHistories(8, settings, MysqlUnderTest.create, {});
  }, 86_400_000);
});

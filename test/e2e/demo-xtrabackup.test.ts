import { join } from 'node:path';
import { expect, it } from 'vitest';
import { keyIds } from '#test/contract/xtrabackup/keyring-file.ts';
import { playDemo } from './play-demo.ts';
import { mysqlShop } from './xtrabackup/mysql-shop.ts';

// The demo on MySQL with XtraBackup, some of its tables encrypted: the stand-in, or the installation REDOUBT_XTRABACKUP_HOME names.

const played = playDemo(mysqlShop);

it('brings the lost keyring back from the escrow of the latest backup, with the master key of every rotation', () => {
  expect(keyIds(join(played().stateDirectory, 'host', 'keyring', 'keyring'))).toHaveLength(3);
});

import fc from 'fast-check';
import { afterAll, describe, it } from 'vitest';
import { checkHistories } from './check-histories.ts';
import { MariadbUnderTest, removeTemplates } from './mariadb-under-test.ts';

afterAll(removeTemplates);

describe('random histories of a MariaDB with file_key_management', () => {
  it('restore exactly, from every backup of them, or are refused by name', async () => {
    await checkHistories(5, fc.record({ everything: fc.boolean() }), MariadbUnderTest.create, { everything: true });
  }, 86_400_000);
});

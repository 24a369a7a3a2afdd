import { describe, expect, it } from 'vitest';
import { gtidContained } from '#agent/server/gtid-contained.ts';

describe('a MariaDB backup’s GTID list', () => {
  it.each([
    ['0-1-10', '0-1-10', true],
    ['0-1-12', '0-1-10', true],
    ['0-1-9', '0-1-10', false],
    // After a failover the other server goes on; what the first one wrote is still told apart.
    ['0-1-10,0-2-15', '0-1-10', true],
    ['0-1-8,0-2-15', '0-1-10', false],
    ['0-1-10', '0-1-10,1-1-3', false],
    ['0-1-10,1-1-3', '0-1-10,1-1-3', true],
    // A replica that logs nothing has its position only.
    ['|0-1-12', '0-1-10', true],
    ['|0-2-12', '0-1-10', true],
    ['|0-1-9', '0-1-10', false],
    ['0-1-18446744073709551615', '0-1-18446744073709551614', true],
    ['0-1-10', '', false],
    ['', '0-1-1', false],
  ])('in a server that executed %j: %j is contained: %j', (set, part, contained) => {
    expect(gtidContained('mariadb', set, part)).toBe(contained);
  });
});

const A = '3e11fa47-71ca-11e1-9e33-c80aa9429562';
const B = 'dee45c49-e62a-11f1-8917-02fc00000001';

describe('a MySQL backup’s GTID set', () => {
  it.each([
    [`${A}:1-42`, `${A}:1-42`, true],
    [`${A}:1-42`, `${A}:7`, true],
    [`${A}:1-42`, `${A}:1-43`, false],
    [`${A}:1-5:11-18`, `${A}:1-3:12-18`, true],
    [`${A}:1-5:11-18`, `${A}:1-11`, false],
    [`${A}:1-42,\n${B}:1-3`, `${B}:2,${A}:1-42`, true],
    [`${A}:1-42`, `${B}:1`, false],
    [`${A.toUpperCase()}:1-42`, `${A}:1-42`, true],
    // MySQL 8.3 and later: tags.
    [`${A}:1-42:backup:1-3`, `${A}:backup:2`, true],
    [`${A}:1-42`, `${A}:backup:2`, false],
    [`${A}:1-42`, '', false],
  ])('in a server that executed %j: %j is contained: %j', (set, part, contained) => {
    expect(gtidContained('mysql', set, part)).toBe(contained);
  });
});

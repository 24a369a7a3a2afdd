import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isStandIn } from './engine-home.ts';
import { Lab } from './lab.ts';

let lab: Lab;

beforeAll(async () => {
  lab = await Lab.create();
});

afterAll(async () => {
  await lab?.close();
});

describe('the server', () => {
  // A checkpoint's own record may go over the end of a redo block: one place in fifty-odd. A real server takes a second for each.
  it('comes to rest wherever its redo ends', async () => {
    for (let length = 1; length <= (isStandIn ? 80 : 10); length++) {
      await lab.server.query('SET GLOBAL innodb_max_dirty_pages_pct = 99');
      await lab.server.query(`INSERT INTO app.plain (k, payload) VALUES (1, REPEAT('x', ${length}))`);
      await lab.server.flush();
    }
    const { lsn, checkpoint } = await lab.server.lsns();
    expect(lsn - checkpoint).toBeLessThanOrEqual(9);
  });
});

import { describe, expect, it } from 'vitest';
import { serverRestarted } from '#agent/server/server-restarted.ts';

describe('two probes', () => {
  it('saw one server process where start and id are the same', () => {
    expect(serverRestarted({ startedAt: 1000, pid: 7 }, { startedAt: 1000, pid: 7 })).toBeUndefined();
  });

  it('saw a restart by the id of the process, however quick it was', () => {
    expect(serverRestarted({ startedAt: 1000, pid: 7 }, { startedAt: 1001, pid: 8 })).toBe(
      'the server process was 7, is 8',
    );
  });

  it('saw a restart by the start where the pid file cannot be read', () => {
    expect(serverRestarted({ startedAt: 1000 }, { startedAt: 1002 })).toMatch(/1970-01-01T00:16:42/);
  });

  it('forgive a second of rounding', () => {
    expect(serverRestarted({ startedAt: 1000 }, { startedAt: 1001 })).toBeUndefined();
  });
});

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { expect, it } from 'vitest';

const program = join(import.meta.dirname, '../../cli/redoubt');

it.each([
  ['--help', 0],
  ['--json', 10],
])('a reader that went away changes nothing about “redoubt %s”', async (argument, exit) => {
  const child = spawn(program, [argument], { stdio: ['ignore', 'pipe', 'pipe'] });
  child.stdout.destroy();
  const [said, [code]] = await Promise.all([text(child.stderr), once(child, 'exit')]);
  expect(code).toBe(exit);
  expect(said).not.toContain('EPIPE');
});

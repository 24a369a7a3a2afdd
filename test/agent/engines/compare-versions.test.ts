import { expect, it } from 'vitest';
import { compareBuilds } from '#agent/engines/compare-versions.ts';

it.each([
  ['8.0.35-30', '8.0.35-31', -1],
  ['8.0.35-9', '8.0.35-30', -1],
  ['8.0.36-28', '8.0.35-30', 1],
  ['8.0.35-30', '8.0.35-30', 0],
  ['2.4.7', '2.4.29', -1],
  ['10.11.19-MariaDB', '10.11.19', 0],
  ['10.11.19-MariaDB-log', '10.11.9-MariaDB', 1],
])('orders the build %s and the build %s', (one, other, order) => {
  expect(Math.sign(compareBuilds(one, other))).toBe(order);
  expect(Math.sign(compareBuilds(other, one))).toBe(order === 0 ? 0 : -order);
});

import type { ClusterId } from '#core/ids.ts';
import type { Workflow } from './control-plane.ts';

/** The name of an execution, and so of its run: `shop-backup-20261122T051210Z-3f9a1c`. */
export const runName = (cluster: ClusterId, workflow: Workflow, now: Date, suffix: string): string => {
  const time = now
    .toISOString()
    .replace(/\.\d+Z$/, 'Z')
    .replaceAll(/[-:]/g, '');
  return `${cluster}-${workflow}-${time}-${suffix}`;
};

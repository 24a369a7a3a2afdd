import { manifestMacHolds } from '#agent/stream/manifest-mac.ts';
import type { RestoreInstruction, RestoreStep } from '#core/agent-protocol.ts';
import { RedoubtError } from '#core/errors.ts';
import { type Manifest, manifestSchema } from '#core/manifest.ts';

const invalid = (step: RestoreStep, why: string): RedoubtError =>
  new RedoubtError('ManifestInvalid', `the manifest of ${step.backup} ${why}`);

/**
 * The manifest that lies under a step's key, whose digest was compared with the instruction's already. Throws `ManifestInvalid` unless it
 * parses, was written by somebody who held the chain's data key, and is of the backup that the step names.
 */
export const parseManifest = (
  text: Buffer,
  step: RestoreStep,
  instruction: Pick<RestoreInstruction, 'cluster' | 'chain' | 'engine'>,
  dataKey: Buffer,
): Manifest => {
  let json: unknown;
  try {
    json = JSON.parse(text.toString('utf8'));
  } catch {
    throw invalid(step, 'is not JSON');
  }
  const parsed = manifestSchema.safeParse(json);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw invalid(step, `cannot be read: ${issue?.path.join('.')}: ${issue?.message}`);
  }
  const manifest = parsed.data;
  if (!manifestMacHolds(manifest, dataKey)) throw invalid(step, 'was not written with the key of its chain');
  for (const [name, is, expected] of [
    ['cluster', manifest.cluster, instruction.cluster],
    ['chain', manifest.chain, instruction.chain],
    ['engine', manifest.engine.name, instruction.engine],
    ['backup', manifest.backup, step.backup],
    ['seq', manifest.seq, step.seq],
    ['to_lsn', manifest.checkpoints.toLsn, step.toLsn],
    ['last_lsn', manifest.checkpoints.lastLsn, step.lastLsn],
  ] as const) {
    if (is !== expected) throw invalid(step, `says ${name} ${is}, the plan ${expected}`);
  }
  return manifest;
};

/**
 * INV-2: the steps are one line of descent. Throws `ManifestInvalid` for the first thing that is not: the first is no full; a place is
 * left out; a parent is another backup or another manifest; an increment does not start where its parent ended; the engine's series or
 * the server's identity changed on the way.
 */
export const checkLine = (steps: readonly RestoreStep[], manifests: readonly Manifest[]): void => {
  for (const [index, manifest] of manifests.entries()) {
    const step = steps[index] as RestoreStep;
    if (manifest.seq !== index) throw invalid(step, `has place ${manifest.seq} in its chain, not ${index}`);
    const before = manifests[index - 1];
    const stepBefore = steps[index - 1];
    if (before === undefined || stepBefore === undefined) {
      if (manifest.kind !== 'full' || manifest.parent !== undefined || manifest.checkpoints.fromLsn !== 0n)
        throw invalid(step, 'is not of a full backup');
      continue;
    }
    if (manifest.kind !== 'incremental') throw invalid(step, 'is not of an increment');
    if (manifest.parent?.backup !== before.backup || manifest.parent.manifestSha256 !== stepBefore.manifestSha256)
      throw invalid(step, `names another parent than ${before.backup} as planned`);
    if (manifest.checkpoints.fromLsn !== before.checkpoints.toLsn)
      throw invalid(
        step,
        `starts at LSN ${manifest.checkpoints.fromLsn}, its parent ended at ${before.checkpoints.toLsn}`,
      );
    if (manifest.engine.series !== before.engine.series)
      throw invalid(step, `was taken by series ${manifest.engine.series}, its parent by ${before.engine.series}`);
    if (manifest.server.identity.uuid !== before.server.identity.uuid)
      throw invalid(step, 'is of another server than its parent');
  }
};

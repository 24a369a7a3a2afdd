import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { globSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';

const root = join(import.meta.dirname, '..');

/** Everything that what is synthesized depends on. */
const sources = ['infra/**/*.ts', 'functions/**/*.ts', 'core/**/*.ts', 'cdk.json', 'package-lock.json'];

const fingerprint = (config: string, agentFile: string): string => {
  const hash = createHash('sha256').update(config);
  for (const path of [...globSync(sources, { cwd: root }).toSorted(), agentFile]) {
    const { size, mtimeMs } = statSync(resolve(root, path));
    hash.update(`${path} ${size} ${mtimeMs}\n`);
  }
  return hash.digest('hex');
};

/** What the local control plane is deployed with, instead of the operator's `redoubt.config.json`. */
export interface LocalDeployment {
  readonly name: string;
  readonly heartbeatSeconds: number;
}

export interface SynthesizeOptions {
  readonly deployment: LocalDeployment;
  /** An agent that was built elsewhere, instead of `dist/redoubt-agent`. */
  readonly agentFile?: string | undefined;
}

/**
 * Runs `cdk synth` into `directory`, unless what lies there was made from the same sources. Answers the folder of the
 * cloud assembly. Throws with what cdk said.
 */
export const synthesize = async (
  directory: string,
  { deployment, agentFile = join(root, 'dist', 'redoubt-agent') }: SynthesizeOptions,
): Promise<string> => {
  const output = join(directory, 'cdk.out');
  const made = join(directory, 'made-from');
  const configFile = join(directory, 'redoubt.config.json');
  const config = JSON.stringify(deployment);
  const now = fingerprint(config, agentFile);
  try {
    if (readFileSync(made, 'utf8') === now) return output;
  } catch {
    // Nothing lies there yet.
  }
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  writeFileSync(configFile, config);
  await promisify(execFile)(
    join(root, 'node_modules', '.bin', 'cdk'),
    // The agent is there: nothing has to be built first.
    [
      'synth',
      '--quiet',
      '--build',
      'true',
      '--output',
      output,
      '-c',
      `config=${configFile}`,
      '-c',
      `agent=${agentFile}`,
    ],
    { cwd: root, maxBuffer: 64 * 1024 * 1024, env: withPinnedNode() },
  );
  writeFileSync(made, now);
  return output;
};

/** The cdk command and the app it starts run on whatever `node` is on the PATH: here, on the pinned one. */
const withPinnedNode = (): NodeJS.ProcessEnv => ({
  ...process.env,
  PATH: `${join(root, 'node_modules', '.bin')}:${process.env.PATH ?? ''}`,
});

import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
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

/** An assembly that nobody asked for in this time goes. */
const KEPT_MS = 12 * 60 * 60 * 1000;

/**
 * The folder of the cloud assembly of these sources below `directory`; runs `cdk synth` unless it is there. Several processes may ask at the same
 * time, for the same or for others: each assembly appears whole, by one rename, and who comes second takes the one that is there. Throws with what
 * cdk said.
 */
export const synthesize = async (
  directory: string,
  { deployment, agentFile = join(root, 'dist', 'redoubt-agent') }: SynthesizeOptions,
): Promise<string> => {
  const config = JSON.stringify(deployment);
  const made = join(directory, fingerprint(config, agentFile).slice(0, 16));
  const output = join(made, 'cdk.out');
  if (existsSync(output)) {
    utimesSync(made, new Date(), new Date());
    return output;
  }
  mkdirSync(directory, { recursive: true });
  for (const name of readdirSync(directory)) {
    const old = join(directory, name);
    if (Date.now() - (statSync(old, { throwIfNoEntry: false })?.mtimeMs ?? 0) > KEPT_MS)
      rmSync(old, { recursive: true, force: true });
  }
  const making = mkdtempSync(join(directory, 'making-'));
  const configFile = join(making, 'redoubt.config.json');
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
      join(making, 'cdk.out'),
      '-c',
      `config=${configFile}`,
      '-c',
      `agent=${agentFile}`,
    ],
    { cwd: root, maxBuffer: 64 * 1024 * 1024, env: withPinnedNode() },
  );
  try {
    renameSync(making, made);
  } catch (error) {
    rmSync(making, { recursive: true });
    if (!existsSync(output)) throw error;
  }
  return output;
};

/** The cdk command and the app it starts run on whatever `node` is on the PATH: here, on the pinned one. */
const withPinnedNode = (): NodeJS.ProcessEnv => ({
  ...process.env,
  PATH: `${join(root, 'node_modules', '.bin')}:${process.env.PATH ?? ''}`,
});

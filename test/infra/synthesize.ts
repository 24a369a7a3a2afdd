import { readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { App } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import { deploymentConfigSchema } from '#infra/deployment-config.ts';
import { ControlPlaneStack } from '#infra/stacks/control-plane-stack.ts';
import { RepositoryStack } from '#infra/stacks/repository-stack.ts';

const { context } = JSON.parse(readFileSync(join(import.meta.dirname, '..', '..', 'cdk.json'), 'utf8'));

interface Options {
  readonly config?: Record<string, unknown>;
  /** CDK's own rules take seconds to load; they are on in infra/app.ts. */
  readonly withRulesOfCdk?: boolean;
}

/** An app as infra/app.ts makes it, with nothing bundled and a file of three words for the agent. `directory` is the caller's to remove. */
export const redoubtApp = async ({ config = {}, withRulesOfCdk = false }: Options = {}) => {
  const directory = await mkdtemp(join(tmpdir(), 'redoubt-synth-'));
  const agentFile = join(directory, 'redoubt-agent');
  writeFileSync(agentFile, 'not an agent');
  const app = new App({
    outdir: join(directory, 'cdk.out'),
    context: {
      ...context,
      'aws:cdk:bundling-stacks': [],
      '@aws-cdk/core:validateAgainstDefaultRules': withRulesOfCdk,
    },
  });
  const deployment = deploymentConfigSchema.parse(config);
  const repository = new RepositoryStack(app, 'repository', { config: deployment });
  const controlPlane = new ControlPlaneStack(app, 'control-plane', {
    config: deployment,
    repository,
    agentFile,
    agentVersion: '1.2.3',
  });
  return { app, repository, controlPlane, directory };
};

interface Templates {
  readonly repository: Template;
  readonly controlPlane: Template;
}

const synthesized = new Map<string, Promise<Templates>>();

/** The templates of a deployment with this configuration, made once for each. */
export const synthesize = (config: Record<string, unknown> = {}): Promise<Templates> => {
  const make = async (): Promise<Templates> => {
    const { repository, controlPlane, directory } = await redoubtApp({ config });
    const templates = { repository: Template.fromStack(repository), controlPlane: Template.fromStack(controlPlane) };
    await rm(directory, { recursive: true });
    return templates;
  };
  const key = JSON.stringify(config);
  const made = synthesized.get(key) ?? make();
  synthesized.set(key, made);
  return made;
};

/** For hooks and tests that synthesize: loading CDK takes seconds on a busy machine. */
export const SYNTH_MILLISECONDS = 180_000;

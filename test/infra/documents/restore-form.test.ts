import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { newBackupId, newChainId } from '#core/ids.ts';
import { restoreFormDocument } from '#infra/documents/restore-form.ts';

const document = restoreFormDocument({ stateMachineArn: 'arn:machine', roleArn: 'arn:role' });
const { parameters } = document;

const patternOf = (name: 'Cluster' | 'Backup' | 'Instance' | 'Directory' | 'Confirm') =>
  new RegExp(parameters[name].allowedPattern);

describe('the form that restores', () => {
  it('acts with a role of its own', () => {
    expect(document.assumeRole).toBe('arn:role');
  });

  it('starts the state machine with every field in its place', () => {
    const [step] = document.mainSteps;
    expect(step).toMatchObject({ action: 'aws:executeStateMachine', inputs: { stateMachineArn: 'arn:machine' } });
    expect(JSON.parse(step?.inputs.input ?? '')).toEqual({
      cluster: '{{ Cluster }}',
      to: '{{ Backup }}',
      target: { instance: '{{ Instance }}', mode: '{{ Mode }}', directory: '{{ Directory }}' },
      confirm: '{{ Confirm }}',
    });
  });

  it('needs no more than the name of a cluster', () => {
    const needed = Object.entries(parameters).filter(([, parameter]) => !('default' in parameter));
    expect(needed.map(([name]) => name)).toEqual(['Cluster']);
  });

  it('offers the modes there are, and the one that touches nothing first', () => {
    expect(parameters.Mode.allowedValues).toEqual(['prepare-only', 'replace']);
    expect(parameters.Mode.default).toBe('prepare-only');
  });

  it('has defaults that it accepts itself', () => {
    for (const name of ['Backup', 'Instance', 'Directory', 'Confirm'] as const)
      expect(parameters[name].default).toMatch(patternOf(name));
  });

  it('takes every id of a backup', () => {
    fc.assert(
      fc.property(
        fc.date({ min: new Date('2020-01-01'), max: new Date('2099-12-31'), noInvalidDate: true }),
        fc.integer({ min: 0, max: 999_999 }),
        (at, seq) => {
          expect(newBackupId(at, newChainId(at, '3f9a1c'), seq)).toMatch(patternOf('Backup'));
        },
      ),
    );
  });

  it('takes nothing that would end a JSON string and begin something else', () => {
    for (const name of ['Cluster', 'Backup', 'Instance', 'Directory', 'Confirm'] as const)
      for (const text of ['"', '\\', '\n', '","x":"', '{', '}'])
        for (const value of [text, `abc${text}`, `${text}abc`, `/abc${text}`, `i-0123456789${text}`])
          expect(value, name).not.toMatch(patternOf(name));
  });
});

import { restoreModeSchema } from '#core/agent-protocol.ts';

export interface RestoreFormTargets {
  readonly stateMachineArn: string;
  /** The role the form acts with. */
  readonly roleArn: string;
}

/** Matches nothing that would end a JSON string, so that an answer cannot become a part of the input's structure. */
const pattern = (inner: string) => `^${inner}$`;

/**
 * The Automation runbook that is a form in the Systems Manager console: it starts the Restore state machine and follows it to its end.
 * Fields left empty are taken out again by the state machine.
 */
export const restoreFormDocument = ({ stateMachineArn, roleArn }: RestoreFormTargets) => ({
  schemaVersion: '0.3',
  description: [
    'Restores a backup that Redoubt took.',
    '',
    `- \`prepare-only\` leaves a data directory that a server can start on. Nothing else on the host is touched.`,
    '- `replace` stops the server, moves its data directory aside (it is never deleted), puts the restored one in its place and starts',
    '  the server. It needs the name of the cluster typed under *Confirm*.',
  ].join('\n'),
  assumeRole: roleArn,
  parameters: {
    Cluster: {
      type: 'String',
      description: 'Name of the cluster whose backup is restored.',
      allowedPattern: pattern('[a-z][a-z0-9-]{1,38}[a-z0-9]'),
    },
    Backup: {
      type: 'String',
      description: 'Id of the backup, as `redoubt backups` lists it, or `latest`.',
      allowedPattern: pattern('(latest|[0-9]{8}T[0-9]{6}Z-(f0000|i[0-9]{4,6})-[0-9a-f]{6})'),
      default: 'latest',
    },
    Instance: {
      type: 'String',
      description: 'Id of the host that receives the restore; the first host of the cluster if empty.',
      allowedPattern: pattern('((i|mi)-[0-9a-f]{8,17})?'),
      default: '',
    },
    Mode: {
      type: 'String',
      description: 'What happens to the restored data directory.',
      allowedValues: [...restoreModeSchema.options],
      default: 'prepare-only',
    },
    Directory: {
      type: 'String',
      description: 'prepare-only: an empty or absent directory to restore to. Leave it empty for replace.',
      allowedPattern: pattern('((/\\.?[A-Za-z0-9_@:+-][A-Za-z0-9._@:+-]*)+/?)?'),
      default: '',
    },
    Confirm: {
      type: 'String',
      description: 'replace: the name of the cluster once more.',
      allowedPattern: pattern('[a-z0-9-]{0,40}'),
      default: '',
    },
  },
  outputs: ['restore.output'],
  mainSteps: [
    {
      name: 'restore',
      action: 'aws:executeStateMachine',
      isEnd: true,
      inputs: {
        stateMachineArn,
        input: JSON.stringify({
          cluster: '{{ Cluster }}',
          to: '{{ Backup }}',
          target: { instance: '{{ Instance }}', mode: '{{ Mode }}', directory: '{{ Directory }}' },
          confirm: '{{ Confirm }}',
        }),
      },
    },
  ],
});

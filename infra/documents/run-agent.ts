import { errorKind } from '#core/errors.ts';
import { AGENT_DIRECTORY_PATTERN } from './agent-directory-pattern.ts';
import { SSM_AGENT_VERSION } from './ssm-agent-version.ts';

/**
 * The Run Command document that starts the agent. No parameter is pasted into the script: each arrives as the environment variable
 * `SSM_<name>`. None is a secret, and none can be: the instruction is fetched by its key and checked against its digest.
 *
 * `region` is where the repository and the state machines are.
 */
export const runAgentDocument = (region: string) => ({
  schemaVersion: '2.2',
  description: 'Lets the Redoubt agent of this host carry out one instruction from the repository.',
  parameters: {
    AgentDirectory: {
      type: 'String',
      description: 'Where the agent is installed.',
      allowedPattern: AGENT_DIRECTORY_PATTERN,
      interpolationType: 'ENV_VAR',
    },
    Bucket: {
      type: 'String',
      description: 'The repository.',
      allowedPattern: '^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$',
      interpolationType: 'ENV_VAR',
    },
    Instruction: {
      type: 'String',
      description: 'Key of the instruction in the repository.',
      allowedPattern: '^runs/[a-z0-9-]{3,40}/[A-Za-z0-9_-]{1,80}/instruction-[1-9][0-9]{0,3}\\.json$',
      interpolationType: 'ENV_VAR',
    },
    Digest: {
      type: 'String',
      description: 'SHA-256 of the instruction.',
      allowedPattern: '^[0-9a-f]{64}$',
      interpolationType: 'ENV_VAR',
    },
    ExecutionTimeout: {
      type: 'String',
      description: 'Seconds after which Systems Manager ends the agent; 172800 at most.',
      allowedPattern: '^[1-9][0-9]{0,5}$',
      default: '172800',
    },
  },
  mainSteps: [
    {
      action: 'aws:runShellScript',
      name: 'runTheAgent',
      precondition: { StringEquals: ['platformType', 'Linux'] },
      inputs: {
        timeoutSeconds: '{{ ExecutionTimeout }}',
        runCommand: [
          'if [ -z "$SSM_Digest" ]; then',
          `  echo "The SSM agent of this host hands no parameters over: update it to ${SSM_AGENT_VERSION} or later." >&2`,
          `  exit ${errorKind('HostNotManaged').exit}`,
          'fi',
          'agent="$SSM_AgentDirectory/current/redoubt-agent"',
          'if [ ! -x "$agent" ]; then',
          '  echo "There is no agent at $agent: run the InstallAgent document on this host." >&2',
          `  exit ${errorKind('AgentMissing').exit}`,
          'fi',
          // A core file would hold every key of the run. Only the soft limit: a server the agent starts may want one of its own.
          'ulimit -S -c 0',
          `export AWS_REGION="\${AWS_REGION:-${region}}"`,
          'exec "$agent" run --bucket "$SSM_Bucket" --instruction "$SSM_Instruction" --digest "$SSM_Digest"',
        ],
      },
    },
  ],
});

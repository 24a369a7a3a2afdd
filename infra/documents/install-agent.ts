import { errorKind } from '#core/errors.ts';
import { AGENT_DIRECTORY_PATTERN } from './agent-directory-pattern.ts';
import { SSM_AGENT_VERSION } from './ssm-agent-version.ts';

export interface AgentFile {
  /** Its https address in S3. */
  readonly url: string;
  /** Lower-case hex. */
  readonly sha256: string;
  /** Names the folder under `releases/`. */
  readonly version: string;
}

/**
 * The Run Command document that installs the agent of this deployment. A host that loses power anywhere in it keeps the agent it had:
 * the new one is complete, checked and tried before the link `current` is replaced by a rename. The release before stays, and the link
 * `previous` names it.
 */
export const installAgentDocument = ({ url, sha256, version }: AgentFile) => ({
  schemaVersion: '2.2',
  description: `Installs the Redoubt agent ${version}.`,
  parameters: {
    AgentDirectory: {
      type: 'String',
      description: 'Where the agent is installed; as in the cluster file.',
      allowedPattern: AGENT_DIRECTORY_PATTERN,
      interpolationType: 'ENV_VAR',
      default: '/opt/redoubt',
    },
  },
  mainSteps: [
    {
      action: 'aws:downloadContent',
      name: 'downloadTheAgent',
      precondition: { StringEquals: ['platformType', 'Linux'] },
      inputs: {
        sourceType: 'S3',
        sourceInfo: `{"path":"${url}"}`,
        // Below the folder of this command, which is also where the next step runs.
        destinationPath: 'redoubt-agent',
      },
    },
    {
      action: 'aws:runShellScript',
      name: 'installTheAgent',
      precondition: { StringEquals: ['platformType', 'Linux'] },
      inputs: {
        timeoutSeconds: '600',
        runCommand: [
          'set -eu',
          `: "\${SSM_AgentDirectory:?the SSM agent hands no parameters over, update it to ${SSM_AGENT_VERSION} or later}"`,
          'umask 022',
          `release="releases/${version}"`,
          '# The step before may have failed: the SSM agent goes on with this one all the same.',
          'if [ ! -f redoubt-agent ]; then',
          '  echo "The agent was not downloaded; the output of the step before says why. Has the role of this host the host policy?" >&2',
          `  exit ${errorKind('RepositoryRefused').exit}`,
          'fi',
          `if ! echo "${sha256}  redoubt-agent" | sha256sum --check --status; then`,
          '  rm -f redoubt-agent',
          '  echo "What was downloaded is not the agent of this deployment; nothing was changed." >&2',
          `  exit ${errorKind('ObjectTampered').exit}`,
          'fi',
          'mkdir -p "$SSM_AgentDirectory/$release"',
          'install -m 0755 redoubt-agent "$SSM_AgentDirectory/$release/redoubt-agent.new"',
          'rm redoubt-agent',
          'cd "$SSM_AgentDirectory"',
          'sync "$release/redoubt-agent.new"',
          '# The new agent has to run on this host before it takes over.',
          '"$release/redoubt-agent.new" version',
          '# A rename: an agent that runs from here keeps its file.',
          'mv -f "$release/redoubt-agent.new" "$release/redoubt-agent"',
          'before="$(readlink current || true)"',
          'ln -sfn "$release" current.new',
          'mv -T current.new current',
          'if [ -n "$before" ] && [ "$before" != "$release" ]; then',
          '  ln -sfn "$before" previous.new',
          '  mv -T previous.new previous',
          'fi',
          '# The release before is for the way back; older ones only take space.',
          'for old in releases/*; do',
          '  if [ "$old" != "$release" ] && [ "$old" != "$(readlink previous || true)" ]; then rm -rf "$old"; fi',
          'done',
          `echo "The agent ${version} is installed in $SSM_AgentDirectory."`,
        ],
      },
    },
  ],
});

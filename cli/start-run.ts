import type { Command } from 'commander';
import { type ClusterId, runIdSchema } from '#core/ids.ts';
import { answer, type CliContext, globalOptions } from './cli-context.ts';
import type { ControlPlane, Workflow } from './control-plane.ts';
import { runName } from './run-name.ts';
import { runView } from './show/run-view.ts';
import { watchRun } from './watch-run.ts';

export interface Started {
  readonly context: CliContext;
  readonly command: Command;
  readonly controlPlane: ControlPlane;
  readonly workflow: Workflow;
  readonly cluster: ClusterId;
  /** The execution's input. */
  readonly input: object;
  readonly wait: boolean;
}

/** Starts an execution under a name of its own and answers that name, or with `wait` the run as it ended. */
export const startRun = async (started: Started): Promise<void> => {
  const { context, command, controlPlane, workflow, cluster, input, wait } = started;
  const run = runIdSchema.parse(runName(cluster, workflow, context.now(), context.randomSuffix()));
  const execution = await controlPlane.start(workflow, run, input);
  if (!wait) {
    answer(context, command, { run, execution }, `${run} started; follow it with: redoubt watch ${run}`);
    return;
  }
  context.terminal.err(run);
  const ended = await watchRun({ context, controlPlane, run, execution, quiet: globalOptions(command).json });
  answer(context, command, ended, runView(ended));
};

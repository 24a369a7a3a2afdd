import { flatText } from '#test/infra/flat-text.ts';
import { synthesize } from '#test/infra/synthesize.ts';

export interface Retrier {
  readonly ErrorEquals: readonly string[];
  readonly IntervalSeconds: number;
  readonly MaxAttempts: number;
  readonly BackoffRate: number;
}

export interface Catcher {
  readonly ErrorEquals: readonly string[];
  readonly Next: string;
  readonly Assign?: Readonly<Record<string, unknown>>;
}

/** The parts of a state that these workflows use. */
export interface State {
  readonly Type: 'Task' | 'Choice' | 'Succeed' | 'Fail';
  readonly Next?: string;
  readonly Resource?: string;
  readonly Arguments?: { readonly FunctionName?: string; readonly Payload?: unknown; readonly Message?: string };
  readonly Assign?: Readonly<Record<string, unknown>>;
  readonly Output?: unknown;
  readonly Retry?: readonly Retrier[];
  readonly Catch?: readonly Catcher[];
  readonly Choices?: readonly { readonly Condition: string; readonly Next: string }[];
  readonly Default?: string;
  readonly TimeoutSeconds?: number | string;
  readonly HeartbeatSeconds?: number | string;
  readonly Error?: string;
  readonly Cause?: string;
}

export interface Machine {
  readonly QueryLanguage: string;
  readonly StartAt: string;
  readonly TimeoutSeconds: number;
  readonly States: Readonly<Record<string, State>>;
}

/** The definition of a state machine as it is deployed, with references of the template as `<LogicalId.Attribute>`. */
export const readMachine = async (name: 'redoubt-back-up' | 'redoubt-restore'): Promise<Machine> => {
  const { controlPlane } = await synthesize();
  const machine = Object.values(controlPlane.findResources('AWS::StepFunctions::StateMachine')).find(
    ({ Properties }) => Properties.StateMachineName === name,
  );
  return JSON.parse(flatText(machine?.Properties.DefinitionString)) as Machine;
};

/** The function a task calls, by the id it has in the stack; `sns` for the one that publishes. */
export const calledBy = ({ Resource, Arguments }: State): string =>
  Resource?.includes('sns:publish')
    ? 'sns'
    : (/^<(\w+?)Function\w+\.Arn>$/.exec(Arguments?.FunctionName ?? '')?.[1] ?? '');

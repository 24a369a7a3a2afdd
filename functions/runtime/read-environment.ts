import { z } from 'zod';

const name = z.string().min(1);
const arn = z.string().startsWith('arn:');
const seconds = z.coerce.number().int().positive();

/** Every variable a function may need; each function reads those it names. */
const variables = {
  table: { variable: 'TABLE_NAME', schema: name },
  bucket: { variable: 'BUCKET_NAME', schema: name },
  /** The KMS key that wraps the data keys. */
  dataKey: { variable: 'DATA_KEY_ARN', schema: arn },
  /** Other KMS keys that chains may be under. */
  otherKeys: {
    variable: 'OTHER_KEY_ARNS',
    schema: z
      .string()
      .transform((text) => text.split(',').filter(Boolean))
      .pipe(z.array(arn)),
  },
  runAgentDocument: { variable: 'RUN_AGENT_DOCUMENT', schema: name },
  backupStateMachine: { variable: 'BACKUP_STATE_MACHINE_ARN', schema: arn },
  scheduleGroup: { variable: 'SCHEDULE_GROUP', schema: name },
  schedulerRole: { variable: 'SCHEDULER_ROLE_ARN', schema: arn },
  /** The agent has to be heard of this often. */
  heartbeatSeconds: { variable: 'HEARTBEAT_SECONDS', schema: seconds.min(3) },
} as const;

type Variables = typeof variables;

/** Throws one error that names every variable of `wanted` that is missing or malformed. */
export const readEnvironment = <const Name extends keyof Variables>(
  environment: Readonly<Record<string, string | undefined>>,
  wanted: readonly Name[],
): { readonly [K in Name]: z.output<Variables[K]['schema']> } => {
  const values: Record<string, unknown> = {};
  const problems: string[] = [];
  for (const key of wanted) {
    const { variable, schema } = variables[key];
    const text = environment[variable];
    const parsed = schema.safeParse(text);
    if (parsed.success) values[key] = parsed.data;
    else problems.push(text === undefined ? `${variable} is missing` : `${variable} is malformed`);
  }
  if (problems.length > 0) throw new Error(`The environment of this function is incomplete: ${problems.join(', ')}.`);
  return values as { readonly [K in Name]: z.output<Variables[K]['schema']> };
};

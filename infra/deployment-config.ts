import { existsSync, readFileSync } from 'node:fs';
import { z } from 'zod';
import { defaultControlPlaneName } from '#core/control-plane-address.ts';

const days = z.number().int().positive();

/** What a deployment may choose. Unknown keys are errors: a misspelt protection must not be a silent default. */
export const deploymentConfigSchema = z.strictObject({
  /** Of the control plane; prefix of the names of what it consists of, so that two fit into one account and region. */
  name: z
    .string()
    .regex(/^[a-z][a-z0-9-]{1,18}[a-z0-9]$/, 'a name has 3 to 20 of a-z, 0-9 and -, starting with a letter')
    .default(defaultControlPlaneName),
  /** None means those of the credentials that deploy. */
  account: z
    .string()
    .regex(/^\d{12}$/, 'an account has 12 digits')
    .optional(),
  region: z.string().optional(),
  /** Is told of alarms and of restores that wait for approval. */
  alarmEmail: z.email().optional(),
  /** A multi-Region key can be replicated, so that backups open although a region is lost. It cannot be chosen later. */
  multiRegionKey: z.boolean().default(false),
  /**
   * ARNs of further KMS keys of this Region that chains may be moved to with `redoubt keys rewrap --to`: a key of another owner, or
   * the replica of a multi-Region key. The policy of each has to let this account use it.
   */
  otherKeys: z
    .array(z.string().regex(/^arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key\/[A-Za-z0-9-]+$/, 'the ARN of a KMS key'))
    .readonly()
    .default([]),
  /** How long a replaced or removed version of an object stays. */
  noncurrentDays: days.default(30),
  /** How long the instructions and results of runs stay in the repository. */
  runsDays: days.default(90),
  /** How long logs stay: one of the spans that CloudWatch knows. */
  logDays: z
    .literal([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653])
    .default(90),
  /** An agent that is not heard of for so long is given up. */
  heartbeatSeconds: z.number().int().min(30).max(3600).default(180),
  /** Nobody removes a version of an object before its time; `compliance` binds the account's root as well. Cannot be chosen later. */
  objectLock: z.strictObject({ mode: z.enum(['governance', 'compliance']), days }).optional(),
});
export type DeploymentConfig = Readonly<z.output<typeof deploymentConfigSchema>>;

/** The deployment that `path` describes; the defaults where there is no such file. Throws an Error that lists every problem. */
export const loadDeploymentConfig = (path: string): DeploymentConfig => {
  const parsed = deploymentConfigSchema.safeParse(existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : {});
  if (!parsed.success) throw new Error(`${path} is not a deployment:\n${z.prettifyError(parsed.error)}`);
  return parsed.data;
};

import { z } from 'zod';

/** The one file of a deployment names it; the name is part of this parameter and of nothing else an operator types. */
export const defaultControlPlaneName = 'redoubt';

/** The SSM parameter that says where everything of the control plane `name` is: who can read it needs no other setting. */
export const controlPlaneParameter = (name: string): string => `/redoubt/${name}/control-plane`;

const arn = z.string().startsWith('arn:');

/** The content of that parameter, as JSON. Written by the deployment, read by the CLI. */
export const controlPlaneAddressSchema = z.object({
  bucket: z.string().min(1),
  table: z.string().min(1),
  /** Names or ARNs, as `lambda:Invoke` takes them. */
  functions: z.object({
    applyCluster: z.string().min(1),
    queryCatalog: z.string().min(1),
    rewrapKeys: z.string().min(1),
    shredKeys: z.string().min(1),
  }),
  stateMachines: z.object({ backup: arn, restore: arn }),
  /** Names of SSM documents. */
  documents: z.object({ runAgent: z.string().min(1), installAgent: z.string().min(1), restore: z.string().min(1) }),
  /** The managed policy that a host's role attaches. */
  hostPolicy: arn,
  /** The KMS key that wraps the data keys. */
  dataKey: arn,
});
export type ControlPlaneAddress = Readonly<z.infer<typeof controlPlaneAddressSchema>>;

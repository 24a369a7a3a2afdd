import { Stack, Validations } from 'aws-cdk-lib';
import { flattenCfnReference } from 'cdk-nag/lib/utils/flatten-cfn-reference.js';
import type { IConstruct } from 'constructs';

/**
 * Says why those of `resources` that hold a wildcard may be in a policy of `construct`. Each finding of cdk-nag is acknowledged by
 * itself, so that a further wildcard is a further finding.
 */
export const explainWildcards = (construct: IConstruct, resources: readonly string[], reason: string): void => {
  for (const resource of resources) {
    const finding = flattenCfnReference(Stack.of(construct).resolve(resource));
    if (finding.includes('*')) {
      Validations.of(construct).acknowledge({ id: `AwsSolutions-IAM5[Resource::${finding}]`, reason });
    }
  }
};

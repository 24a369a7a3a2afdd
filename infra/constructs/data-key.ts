import { Duration, RemovalPolicy, Stack } from 'aws-cdk-lib';
import { Key } from 'aws-cdk-lib/aws-kms';
import { Construct } from 'constructs';
import { encryptionContextSchema, keyPurposeSchema } from '#core/wrapped-key.ts';
import type { ControlFunction } from './control-function.ts';

export interface DataKeyProps {
  readonly controlPlane: string;
  readonly multiRegion: boolean;
}

/**
 * The KMS key that wraps the data key of every chain. Its policy leaves the decision to IAM, and IAM gives nobody `kms:Decrypt`: a
 * host opens one chain by a grant that lasts for one run.
 */
export class DataKey extends Construct {
  readonly key: Key;

  constructor(scope: Construct, id: string, props: DataKeyProps) {
    super(scope, id);
    this.key = new Key(this, 'Key', {
      alias: `alias/${props.controlPlane}/data-key`,
      description: `Wraps the data keys of the backups of ${props.controlPlane}`,
      enableKeyRotation: true,
      multiRegion: props.multiRegion,
      // The longest there is: time to notice, since without the key no backup opens.
      pendingWindow: Duration.days(30),
      removalPolicy: RemovalPolicy.RETAIN,
    });
  }

  /** Makes wrapped keys, for exactly the context that core/wrapped-key.ts describes; never sees one in plaintext. */
  grantGenerate(fn: ControlFunction): void {
    fn.addEnvironment('DATA_KEY_ARN', this.key.keyArn);
    fn.allow({
      actions: ['kms:GenerateDataKeyWithoutPlaintext'],
      resources: [this.key.keyArn],
      conditions: {
        'ForAllValues:StringEquals': { 'kms:EncryptionContextKeys': Object.keys(encryptionContextSchema.shape) },
        Null: { 'kms:EncryptionContext:cluster': 'false', 'kms:EncryptionContext:chain': 'false' },
        StringEquals: { 'kms:EncryptionContext:purpose': keyPurposeSchema.options },
      },
    });
  }

  /** Lends a key to a role of this account, to decrypt and nothing else, bound to an encryption context; and takes it back. */
  grantLend(fn: ControlFunction): void {
    fn.addEnvironment('DATA_KEY_ARN', this.key.keyArn);
    fn.allow({
      actions: ['kms:CreateGrant'],
      resources: [this.key.keyArn],
      conditions: {
        'ForAllValues:StringEquals': { 'kms:GrantOperations': ['Decrypt'] },
        // "For all values" also holds for none at all.
        Null: { 'kms:GrantOperations': 'false' },
        StringEquals: { 'kms:GrantConstraintType': 'EncryptionContextEquals' },
        ArnLike: {
          'kms:GranteePrincipal': Stack.of(this).formatArn({
            service: 'iam',
            region: '',
            resource: 'role',
            resourceName: '*',
          }),
        },
      },
    });
    this.grantTakeBack(fn);
  }

  /** Revoking is harmless: the next plan lends the key again. */
  grantTakeBack(fn: ControlFunction): void {
    fn.addEnvironment('DATA_KEY_ARN', this.key.keyArn);
    fn.allow({ actions: ['kms:RevokeGrant', 'kms:ListGrants'], resources: [this.key.keyArn] });
  }
}

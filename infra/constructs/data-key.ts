import { Duration, RemovalPolicy, Stack } from 'aws-cdk-lib';
import { Key } from 'aws-cdk-lib/aws-kms';
import { Construct } from 'constructs';
import { encryptionContextSchema, keyPurposeSchema } from '#core/wrapped-key.ts';
import type { ControlFunction } from './control-function.ts';

export interface DataKeyProps {
  readonly controlPlane: string;
  readonly multiRegion: boolean;
  /** ARNs of the other keys that chains may be re-wrapped to. Their policies are their owners' business. */
  readonly otherKeys: readonly string[];
}

/** Exactly the context that core/wrapped-key.ts describes. */
const ofAChain = {
  'ForAllValues:StringEquals': { 'kms:EncryptionContextKeys': Object.keys(encryptionContextSchema.shape) },
  Null: { 'kms:EncryptionContext:cluster': 'false', 'kms:EncryptionContext:chain': 'false' },
  StringEquals: { 'kms:EncryptionContext:purpose': keyPurposeSchema.options },
};

/**
 * The KMS key that wraps the data key of every chain. Its policy leaves the decision to IAM, and IAM gives nobody `kms:Decrypt`: a
 * host opens one chain by a grant that lasts for one run.
 */
export class DataKey extends Construct {
  readonly key: Key;
  readonly #otherKeys: readonly string[];

  constructor(scope: Construct, id: string, props: DataKeyProps) {
    super(scope, id);
    this.#otherKeys = props.otherKeys;
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

  /** Every key that chains may be under. */
  tellKeys(fn: ControlFunction): void {
    fn.addEnvironment('DATA_KEY_ARN', this.key.keyArn);
    fn.addEnvironment('OTHER_KEY_ARNS', this.#otherKeys.join(','));
  }

  /** Makes wrapped keys; never sees one in plaintext. */
  grantGenerate(fn: ControlFunction): void {
    fn.addEnvironment('DATA_KEY_ARN', this.key.keyArn);
    fn.allow({
      actions: ['kms:GenerateDataKeyWithoutPlaintext'],
      resources: [this.key.keyArn],
      conditions: ofAChain,
    });
  }

  /** Moves wrapped keys from one of the keys to another, inside KMS; never sees one in plaintext. */
  grantRewrap(fn: ControlFunction): void {
    this.tellKeys(fn);
    fn.allow({ actions: ['kms:ReEncryptFrom', 'kms:ReEncryptTo'], resources: this.#keys, conditions: ofAChain });
  }

  /** Lends the keys of one chain to a role of this account, to decrypt and nothing else; and takes them back. */
  grantLend(fn: ControlFunction): void {
    fn.addEnvironment('DATA_KEY_ARN', this.key.keyArn);
    fn.allow({
      actions: ['kms:CreateGrant'],
      resources: this.#keys,
      conditions: {
        'ForAllValues:StringEquals': { 'kms:GrantOperations': ['Decrypt'] },
        Null: {
          // "For all values" also holds for none at all.
          'kms:GrantOperations': 'false',
          'kms:EncryptionContext:cluster': 'false',
          'kms:EncryptionContext:chain': 'false',
        },
        StringEquals: { 'kms:GrantConstraintType': 'EncryptionContextSubset' },
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
    fn.allow({ actions: ['kms:RevokeGrant', 'kms:ListGrants'], resources: this.#keys });
  }

  get #keys(): readonly string[] {
    return [this.key.keyArn, ...this.#otherKeys];
  }
}

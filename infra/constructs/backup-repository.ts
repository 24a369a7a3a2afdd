import { Duration, RemovalPolicy, Stack, Validations } from 'aws-cdk-lib';
import { AnyPrincipal, Effect, PolicyStatement, type PolicyStatementProps } from 'aws-cdk-lib/aws-iam';
import {
  BlockPublicAccess,
  Bucket,
  BucketEncryption,
  type IBucket,
  ObjectLockRetention,
  ObjectOwnership,
} from 'aws-cdk-lib/aws-s3';
import { Construct } from 'constructs';
import type { DeploymentConfig } from '../deployment-config.ts';
import type { ControlFunction } from './control-function.ts';
import { CONTROL_PLANE_TAG, KEYS_TAG, SHRED_TAG } from './tags.ts';

/** Where wrapped keys are. */
const MANIFESTS = 'clusters/*/manifest.json';
const INSTRUCTIONS = 'runs/*/instruction-*.json';

export interface BackupRepositoryProps {
  /** The value of the tag `redoubt-control-plane` on the roles that may clean up. */
  readonly controlPlane: string;
  readonly noncurrentDays: number;
  readonly runsDays: number;
  readonly objectLock: DeploymentConfig['objectLock'];
}

/**
 * The bucket that is the truth. Whoever holds a host's credentials can add to it, but neither replace nor remove what is there.
 *
 * Encryption at rest is S3's own: docs/decisions/0006-s3-managed-encryption-at-rest.md.
 */
export class BackupRepository extends Construct {
  readonly bucket: Bucket;
  readonly #controlPlane: string;
  /** The bucket's ARN as other stacks write it. */
  readonly #arnElsewhere: string;

  constructor(scope: Construct, id: string, props: BackupRepositoryProps) {
    super(scope, id);
    const accessLog = new Bucket(this, 'AccessLog', {
      encryption: BucketEncryption.S3_MANAGED,
      blockPublicAccess: BlockPublicAccess.BLOCK_ALL,
      objectOwnership: ObjectOwnership.BUCKET_OWNER_ENFORCED,
      enforceSSL: true,
      minimumTLSVersion: 1.2,
      lifecycleRules: [{ id: 'access-log-ends', expiration: Duration.days(365) }],
      removalPolicy: RemovalPolicy.RETAIN,
    });
    Validations.of(accessLog).acknowledge({
      id: 'AwsSolutions-S1',
      reason: 'It is the access log; a log of the log would never end.',
    });

    const { objectLock } = props;
    this.bucket = new Bucket(this, 'Bucket', {
      versioned: true,
      encryption: BucketEncryption.S3_MANAGED,
      blockPublicAccess: BlockPublicAccess.BLOCK_ALL,
      objectOwnership: ObjectOwnership.BUCKET_OWNER_ENFORCED,
      enforceSSL: true,
      minimumTLSVersion: 1.2,
      serverAccessLogsBucket: accessLog as IBucket,
      ...(objectLock && {
        objectLockEnabled: true,
        objectLockDefaultRetention:
          objectLock.mode === 'compliance'
            ? ObjectLockRetention.compliance(Duration.days(objectLock.days))
            : ObjectLockRetention.governance(Duration.days(objectLock.days)),
      }),
      lifecycleRules: [
        // An upload is one segment of a run, and a run takes at most 48 hours: nobody will complete an older one.
        { id: 'abandoned-uploads-end', abortIncompleteMultipartUploadAfter: Duration.days(2) },
        {
          id: 'noncurrent-versions-end',
          noncurrentVersionExpiration: Duration.days(props.noncurrentDays),
          expiredObjectDeleteMarker: true,
        },
        { id: 'runs-end', prefix: 'runs/', expiration: Duration.days(props.runsDays) },
      ],
      removalPolicy: RemovalPolicy.RETAIN,
    });
    this.#arnElsewhere = Stack.of(this).exportValue(this.bucket.bucketArn);
    this.#controlPlane = props.controlPlane;
    this.#denyReplacing();
    this.#denyRemoving();
  }

  /**
   * INV-4: nobody replaces an object of a backup, but the functions that change the wrapped keys in manifests; and those write over
   * what they have read and nothing else. Only the requests that make an object can carry a condition: the parts of a multipart
   * upload have `s3:ObjectCreationOperation` false. Source: S3 user guide, "Enforce conditional writes".
   */
  #denyReplacing(): void {
    const isKeysFunction = { [`aws:PrincipalTag/${KEYS_TAG}`]: this.#controlPlane };
    this.#deny('NobodyReplacesABackup', {
      actions: ['s3:PutObject'],
      resources: [this.bucket.arnForObjects('clusters/*')],
      conditions: {
        Null: { 's3:if-none-match': 'true' },
        Bool: { 's3:ObjectCreationOperation': 'true' },
        StringNotEquals: isKeysFunction,
      },
    });
    this.#deny('KeysAreChangedInWhatWasRead', {
      actions: ['s3:PutObject'],
      resources: [this.bucket.arnForObjects('*')],
      conditions: { Null: { 's3:if-match': 'true' }, StringEquals: isKeysFunction },
    });
    this.#deny('KeysAreChangedInManifests', {
      actions: ['s3:PutObject'],
      notResources: [this.bucket.arnForObjects(MANIFESTS)],
      conditions: { StringEquals: isKeysFunction },
    });
  }

  /**
   * INV-4: only the control plane removes, and even that leaves a delete marker; versions go by the lifecycle alone, and where
   * the keys of a chain are shredded: those that hold wrapped keys.
   */
  #denyRemoving(): void {
    this.#deny('OnlyTheControlPlaneRemoves', {
      actions: ['s3:DeleteObject'],
      resources: [this.bucket.arnForObjects('*')],
      conditions: { StringNotEquals: { [`aws:PrincipalTag/${CONTROL_PLANE_TAG}`]: this.#controlPlane } },
    });
    this.#deny('OnlyShreddingRemovesAVersion', {
      actions: ['s3:DeleteObjectVersion'],
      resources: [this.bucket.arnForObjects('*')],
      conditions: { StringNotEquals: { [`aws:PrincipalTag/${SHRED_TAG}`]: this.#controlPlane } },
    });
    this.#deny('ShreddingRemovesWrappedKeysOnly', {
      actions: ['s3:DeleteObject', 's3:DeleteObjectVersion'],
      notResources: [MANIFESTS, INSTRUCTIONS].map((pattern) => this.bucket.arnForObjects(pattern)),
      conditions: { StringEquals: { [`aws:PrincipalTag/${SHRED_TAG}`]: this.#controlPlane } },
    });
    this.#deny('NobodyBypassesALock', {
      actions: ['s3:BypassGovernanceRetention'],
      resources: [this.bucket.arnForObjects('*')],
    });
  }

  #deny(sid: string, statement: PolicyStatementProps): void {
    this.bucket.addToResourcePolicy(
      new PolicyStatement({ ...statement, sid, effect: Effect.DENY, principals: [new AnyPrincipal()] }),
    );
  }

  /** Manifests and the facts of data objects; which there are. */
  grantReadBackups(fn: ControlFunction): void {
    this.#tell(fn);
    fn.allow({
      actions: ['s3:GetObject', 's3:GetObjectVersion'],
      resources: [this.objects('clusters/*')],
      wildcards: 'It reads the backups of whichever cluster it is asked about.',
    });
    this.#allowListing(fn);
  }

  /** Removes what a run left behind that never became a backup. */
  grantClearLeftovers(fn: ControlFunction): void {
    this.#tell(fn);
    fn.allow({
      actions: ['s3:DeleteObject', 's3:AbortMultipartUpload', 's3:ListMultipartUploadParts'],
      resources: [this.objects('clusters/*')],
      wildcards: 'It clears up after the run of whichever cluster.',
    });
    // A tombstone, where no manifest lies: the bucket lets nobody write over one.
    fn.allow({
      actions: ['s3:PutObject'],
      resources: [this.objects(MANIFESTS)],
      wildcards: 'It gives up the backup of whichever run.',
    });
    fn.allow({ actions: ['s3:ListBucketMultipartUploads'], resources: [this.#arnElsewhere] });
  }

  grantWriteInstructions(fn: ControlFunction): void {
    this.#tell(fn);
    fn.allow({
      actions: ['s3:PutObject'],
      resources: [this.objects(INSTRUCTIONS)],
      wildcards: 'Every run has instructions of its own.',
    });
  }

  /** Writes manifests over, to change the wrapped keys in them. */
  grantChangeKeys(fn: ControlFunction): void {
    this.grantReadBackups(fn);
    fn.addTag(KEYS_TAG, this.#controlPlane);
    fn.allow({
      actions: ['s3:PutObject'],
      resources: [this.objects(MANIFESTS)],
      wildcards: 'It changes the keys of whichever chain it is asked to.',
    });
  }

  /** Removes every copy of wrapped keys, older versions too. */
  grantShred(fn: ControlFunction): void {
    this.grantChangeKeys(fn);
    fn.addTag(SHRED_TAG, this.#controlPlane);
    fn.allow({
      actions: ['s3:DeleteObject', 's3:DeleteObjectVersion'],
      resources: [this.objects(MANIFESTS), this.objects(INSTRUCTIONS)],
      wildcards: 'It shreds the keys of whichever chain it is asked to.',
    });
    fn.allow({
      actions: ['s3:GetObject', 's3:GetObjectVersion'],
      resources: [this.objects(INSTRUCTIONS)],
      wildcards: 'It has to find the instructions with keys of a chain in them.',
    });
    fn.allow({ actions: ['s3:ListBucketVersions'], resources: [this.#arnElsewhere] });
  }

  grantReadRuns(fn: ControlFunction): void {
    this.#tell(fn);
    fn.allow({
      actions: ['s3:GetObject'],
      resources: [this.objects('runs/*/progress.json')],
      wildcards: 'It shows whichever run it is asked about.',
    });
    this.#allowListing(fn);
  }

  /** Without a condition on the prefix: who may not list gets 403, not 404, for an object that is not there (yet). */
  #allowListing(fn: ControlFunction): void {
    fn.allow({ actions: ['s3:ListBucket'], resources: [this.#arnElsewhere] });
  }

  /** ARN of the objects that match `pattern`, for policies in other stacks. */
  objects(pattern: string): string {
    return `${this.#arnElsewhere}/${pattern}`;
  }

  #tell(fn: ControlFunction): void {
    fn.addEnvironment('BUCKET_NAME', this.bucket.bucketName);
  }
}

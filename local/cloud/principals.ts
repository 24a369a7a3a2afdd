import { createHash } from 'node:crypto';

export const accountId = '000000000000';
export const region = 'us-east-1';

/** Whoever comes with an access key that no principal was given: the operator of the local cloud. */
export const operatorArn = `arn:aws:iam::${accountId}:root`;

export interface Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

/**
 * Who is who in the local cloud. There is no IAM: a principal is an ARN, and an access key id stands for it. Keys are
 * derived from the ARN, so a restarted cloud knows the keys that a process was given before, once their ARN is asked for again.
 */
export class Principals {
  readonly #arnByKey = new Map<string, string>();

  /** The principal's keys; the same ones each time. */
  credentialsFor(arn: string): Credentials {
    const digest = createHash('sha256').update(arn).digest('hex').toUpperCase();
    const accessKeyId = `AKIA${digest.slice(0, 16)}`;
    this.#arnByKey.set(accessKeyId, arn);
    return { accessKeyId, secretAccessKey: digest.slice(16, 56) };
  }

  /** The principal behind an access key id; the operator when nobody was given that key. */
  arnOf(accessKeyId: string | undefined): string {
    return (accessKeyId === undefined ? undefined : this.#arnByKey.get(accessKeyId)) ?? operatorArn;
  }
}

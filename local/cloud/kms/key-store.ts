import { randomBytes, randomUUID } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { accountId } from '../principals.ts';
import { AwsError } from '../service.ts';
import type { EncryptionContext } from './ciphertext-blob.ts';
import type { Statement } from './statements.ts';

export interface Grant {
  readonly grantId: string;
  /** Every CreateGrant answers a token of its own, also when it found the grant already there. */
  tokens: string[];
  readonly granteePrincipal: string;
  readonly retiringPrincipal?: string;
  readonly operations: readonly string[];
  readonly constraints?: {
    readonly EncryptionContextSubset?: EncryptionContext;
    readonly EncryptionContextEquals?: EncryptionContext;
  };
  readonly name?: string;
  readonly issuingAccount: string;
  readonly creationDate: number;
}

export interface KmsKey {
  readonly keyId: string;
  readonly region: string;
  readonly multiRegion?: { readonly type: 'PRIMARY' | 'REPLICA'; readonly primaryRegion: string };
  readonly description: string;
  readonly creationDate: number;
  state: 'Enabled' | 'Disabled' | 'PendingDeletion';
  deletionDate?: number;
  rotationEnabled: boolean;
  /** Base64; the last one encrypts, all of them decrypt. */
  material: string[];
  policy: readonly Statement[];
  grants: Grant[];
}

interface State {
  keys: KmsKey[];
  /** Alias name to key id, per region: `us-east-1/alias/redoubt`. */
  aliases: Record<string, string>;
}

/** A new key's policy when none is given: the account decides by IAM, as KMS does by default. */
export const defaultKeyPolicy: readonly Statement[] = [
  {
    Sid: 'Enable IAM User Permissions',
    Effect: 'Allow',
    Principal: { AWS: `arn:aws:iam::${accountId}:root` },
    Action: 'kms:*',
    Resource: '*',
  },
];

export const keyArn = ({ region, keyId }: Pick<KmsKey, 'region' | 'keyId'>): string =>
  `arn:aws:kms:${region}:${accountId}:key/${keyId}`;

/** KMS keys, aliases and grants, kept in one file of the state directory (mode 0600, replaced as a whole). */
export class KeyStore {
  readonly #file: string;
  readonly #state: State;

  constructor(directory: string) {
    mkdirSync(directory, { recursive: true });
    this.#file = join(directory, 'keys.json');
    this.#state = this.#read();
  }

  #read(): State {
    try {
      return JSON.parse(readFileSync(this.#file, 'utf8')) as State;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return { keys: [], aliases: {} };
      throw error;
    }
  }

  save(): void {
    const temporary = `${this.#file}.new`;
    writeFileSync(temporary, JSON.stringify(this.#state, null, 1), { mode: 0o600 });
    renameSync(temporary, this.#file);
  }

  keys(region: string): readonly KmsKey[] {
    return this.#state.keys.filter((key) => key.region === region);
  }

  /** Every replica of a multi-Region key, the primary among them. */
  replicasOf(keyId: string): readonly KmsKey[] {
    return this.#state.keys.filter((key) => key.keyId === keyId);
  }

  create(
    region: string,
    options: {
      readonly multiRegion: boolean;
      readonly description: string;
      readonly policy: readonly Statement[];
      readonly now: number;
      readonly keyId?: string | undefined;
    },
  ): KmsKey {
    const fresh = options.multiRegion ? `mrk-${randomUUID().replaceAll('-', '')}` : randomUUID();
    const key: KmsKey = {
      keyId: options.keyId ?? fresh,
      region,
      ...(options.multiRegion ? { multiRegion: { type: 'PRIMARY', primaryRegion: region } } : {}),
      description: options.description,
      creationDate: options.now,
      state: 'Enabled',
      rotationEnabled: false,
      material: [randomBytes(32).toString('base64')],
      policy: options.policy,
      grants: [],
    };
    this.#state.keys.push(key);
    this.save();
    return key;
  }

  replicate(key: KmsKey, region: string, policy: readonly Statement[], now: number): KmsKey {
    const replica: KmsKey = {
      ...key,
      region,
      multiRegion: { type: 'REPLICA', primaryRegion: key.region },
      creationDate: now,
      material: [...key.material],
      policy,
      grants: [],
    };
    this.#state.keys.push(replica);
    this.save();
    return replica;
  }

  setAlias(region: string, alias: string, keyId: string): void {
    this.#state.aliases[`${region}/${alias}`] = keyId;
    this.save();
  }

  deleteAlias(region: string, alias: string): void {
    delete this.#state.aliases[`${region}/${alias}`];
    this.save();
  }

  aliases(region: string): readonly (readonly [alias: string, keyId: string])[] {
    return Object.entries(this.#state.aliases)
      .filter(([name]) => name.startsWith(`${region}/`))
      .map(([name, keyId]) => [name.slice(region.length + 1), keyId] as const);
  }

  /**
   * The key that a `KeyId` parameter names: an id, a key ARN, and where `aliases` is allowed also an alias name or ARN.
   *
   * @throws AwsError NotFoundException
   */
  resolve(region: string, reference: string | undefined, { aliases }: { readonly aliases: boolean }): KmsKey {
    if (reference === undefined || reference === '') {
      throw new AwsError(
        'ValidationException',
        "1 validation error detected: Value null at 'keyId' failed to satisfy constraint: Member must not be null",
      );
    }
    const arn = /^arn:aws:kms:([^:]*):([^:]*):(key|alias)\/(.+)$/.exec(reference);
    if (arn !== null && arn[1] !== region) {
      throw new AwsError('NotFoundException', `Invalid arn ${arn[1]}`);
    }
    const name = arn === null ? reference : arn[3] === 'alias' ? `alias/${arn[4]}` : (arn[4] ?? '');
    const isAlias = name.startsWith('alias/');
    if (isAlias && !aliases) throw new AwsError('NotFoundException', `Invalid keyId '${name}'`);
    const keyId = isAlias ? this.#state.aliases[`${region}/${name}`] : name;
    const key = this.#state.keys.find((candidate) => candidate.region === region && candidate.keyId === keyId);
    if (key !== undefined) return key;
    const missing = isAlias ? `arn:aws:kms:${region}:${accountId}:${name}` : keyArn({ region, keyId: name });
    throw new AwsError(
      'NotFoundException',
      isAlias ? `Alias ${missing} is not found.` : `Key '${missing}' does not exist`,
    );
  }
}

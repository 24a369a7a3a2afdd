import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { accountId, region } from '../principals.ts';
import { AwsError, type Operation } from '../service.ts';

interface StoredParameter {
  readonly name: string;
  readonly type: string;
  readonly value: string;
  readonly version: number;
  readonly modified: number;
}

/** SSM Parameter Store: String, StringList and SecureString (whose encryption at rest is not emulated). */
export class ParameterStore {
  readonly #file: string;
  readonly #parameters: Map<string, StoredParameter>;

  constructor(directory: string) {
    mkdirSync(directory, { recursive: true });
    this.#file = join(directory, 'parameters.json');
    this.#parameters = new Map();
    try {
      for (const parameter of JSON.parse(readFileSync(this.#file, 'utf8')) as StoredParameter[]) {
        this.#parameters.set(parameter.name, parameter);
      }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }

  /** @throws AwsError ParameterAlreadyExists */
  put(name: string, type: string, value: string, overwrite: boolean, now: number): number {
    const existing = this.#parameters.get(name);
    if (existing !== undefined && !overwrite) {
      throw new AwsError(
        'ParameterAlreadyExists',
        'The parameter already exists. To overwrite this value, set the overwrite option in the request to true.',
      );
    }
    const version = (existing?.version ?? 0) + 1;
    this.#parameters.set(name, { name, type, value, version, modified: now });
    this.#save();
    return version;
  }

  #save(): void {
    writeFileSync(`${this.#file}.new`, JSON.stringify([...this.#parameters.values()], null, 1), { mode: 0o600 });
    renameSync(`${this.#file}.new`, this.#file);
  }

  #get(reference: string): StoredParameter | undefined {
    return this.#parameters.get(reference.replace(/^arn:aws:ssm:[^:]*:[^:]*:parameter(?=\/)/, ''));
  }

  operations(now: () => Date): Readonly<Record<string, Operation>> {
    const shown = ({ name, type, value, version, modified }: StoredParameter, decrypt: boolean) => ({
      Name: name,
      Type: type,
      Value: type === 'SecureString' && !decrypt ? Buffer.from(`encrypted:${name}`).toString('base64') : value,
      Version: version,
      LastModifiedDate: modified / 1000,
      ARN: `arn:aws:ssm:${region}:${accountId}:parameter${name.startsWith('/') ? '' : '/'}${name}`,
      DataType: 'text',
    });
    return {
      PutParameter: async (input) => {
        const type = input.Type ?? this.#get(input.Name)?.type;
        if (type === undefined)
          throw new AwsError('ValidationException', 'A parameter type is required when you create a parameter.');
        return {
          Version: this.put(input.Name, type, input.Value, input.Overwrite === true, now().getTime()),
          Tier: 'Standard',
        };
      },
      GetParameter: async (input) => {
        const found = this.#get(input.Name);
        if (found === undefined) throw new AwsError('ParameterNotFound', `Parameter ${input.Name} not found.`);
        return { Parameter: shown(found, input.WithDecryption === true) };
      },
      GetParameters: async (input) => {
        const names: string[] = input.Names ?? [];
        const found = names.map((name) => this.#get(name));
        return {
          Parameters: found.flatMap((parameter) =>
            parameter === undefined ? [] : [shown(parameter, input.WithDecryption === true)],
          ),
          InvalidParameters: names.filter((_, index) => found[index] === undefined),
        };
      },
      GetParametersByPath: async (input) => {
        const path = input.Path.endsWith('/') ? input.Path : `${input.Path}/`;
        const start = Number(input.NextToken ?? 0);
        const size = input.MaxResults ?? 10;
        const all = [...this.#parameters.values()]
          .filter(
            ({ name }) => name.startsWith(path) && (input.Recursive === true || !name.slice(path.length).includes('/')),
          )
          .sort((a, b) => (a.name < b.name ? -1 : 1));
        const page = all.slice(start, start + size);
        return {
          Parameters: page.map((parameter) => shown(parameter, input.WithDecryption === true)),
          ...(start + size < all.length ? { NextToken: String(start + size) } : {}),
        };
      },
      DeleteParameter: async (input) => {
        if (!this.#parameters.delete(input.Name))
          throw new AwsError('ParameterNotFound', `Parameter ${input.Name} not found.`);
        this.#save();
        return {};
      },
    };
  }
}

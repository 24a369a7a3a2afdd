import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse as parseYaml } from 'yaml';
import { AwsError } from '../service.ts';
import type { DeclaredParameter } from './resolve-parameters.ts';

/** What a document says, as far as all kinds of documents say it. */
export interface DocumentContent {
  readonly schemaVersion: string;
  readonly description?: string;
  readonly parameters?: Readonly<Record<string, DeclaredParameter>>;
  readonly mainSteps?: readonly DocumentStep[];
  /** Automation only. */
  readonly assumeRole?: string;
  readonly outputs?: readonly string[];
}

export interface DocumentStep {
  readonly name: string;
  readonly action: string;
  readonly inputs?: Readonly<Record<string, unknown>>;
  readonly precondition?: Readonly<Record<string, readonly string[]>>;
  readonly onFailure?: string;
  readonly isEnd?: boolean | string;
  readonly nextStep?: string;
  readonly timeoutSeconds?: number | string;
  readonly maxAttempts?: number | string;
  readonly outputs?: readonly { readonly Name: string; readonly Selector: string; readonly Type?: string }[];
}

export interface DocumentVersion {
  readonly version: string;
  readonly text: string;
  readonly format: string;
  readonly createdAt: number;
}

export interface SsmDocument {
  readonly name: string;
  readonly type: string;
  versions: DocumentVersion[];
  defaultVersion: string;
}

export const hashOf = ({ text }: DocumentVersion): string => createHash('sha256').update(text).digest('hex');

/** @throws AwsError InvalidDocumentContent */
export const readContent = ({ text, format }: Pick<DocumentVersion, 'text' | 'format'>): DocumentContent => {
  try {
    const content = format === 'YAML' ? parseYaml(text) : JSON.parse(text);
    if (typeof content?.schemaVersion !== 'string') throw new Error('schemaVersion is missing');
    return content;
  } catch (error) {
    throw new AwsError(
      'InvalidDocumentContent',
      `The content of the document is not valid: ${(error as Error).message}`,
    );
  }
};

const schemaVersions: Readonly<Record<string, readonly string[]>> = { Command: ['2.2'], Automation: ['0.3'] };

/** The document that everybody has, as AWS publishes it, less its Windows half. */
const runShellScript: SsmDocument = {
  name: 'AWS-RunShellScript',
  type: 'Command',
  defaultVersion: '1',
  versions: [
    {
      version: '1',
      format: 'JSON',
      createdAt: 0,
      text: JSON.stringify({
        schemaVersion: '2.2',
        description: 'Run a shell script or specify the commands to run.',
        parameters: {
          commands: { type: 'StringList', description: 'The commands to run.' },
          workingDirectory: { type: 'String', default: '' },
          executionTimeout: {
            type: 'String',
            default: '3600',
            allowedPattern: '([1-9][0-9]{0,4})|(1[0-6][0-9]{4})|(17[0-1][0-9]{3})|(172[0-7][0-9]{2})|(172800)',
          },
        },
        mainSteps: [
          {
            action: 'aws:runShellScript',
            name: 'runShellScript',
            inputs: {
              timeoutSeconds: '{{ executionTimeout }}',
              runCommand: '{{ commands }}',
              workingDirectory: '{{ workingDirectory }}',
            },
          },
        ],
      }),
    },
  ],
};

/** SSM documents with their versions, kept in one file of the state directory. */
export class DocumentStore {
  readonly #file: string;
  readonly #documents: Map<string, SsmDocument>;

  constructor(directory: string) {
    mkdirSync(directory, { recursive: true });
    this.#file = join(directory, 'documents.json');
    this.#documents = new Map([[runShellScript.name, runShellScript], ...this.#read()]);
  }

  #read(): [string, SsmDocument][] {
    try {
      return (JSON.parse(readFileSync(this.#file, 'utf8')) as SsmDocument[]).map((document) => [
        document.name,
        document,
      ]);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
      throw error;
    }
  }

  #save(): void {
    const own = [...this.#documents.values()].filter((document) => document !== runShellScript);
    writeFileSync(`${this.#file}.new`, JSON.stringify(own, null, 1));
    renameSync(`${this.#file}.new`, this.#file);
  }

  list(): readonly SsmDocument[] {
    return [...this.#documents.values()];
  }

  /** @throws AwsError InvalidDocument, InvalidDocumentVersion */
  find(reference: string, version = '$DEFAULT'): { readonly document: SsmDocument; readonly version: DocumentVersion } {
    const name = reference.replace(/^arn:aws:ssm:[^:]*:[^:]*:document\//, '');
    const document = this.#documents.get(name);
    if (document === undefined) throw new AwsError('InvalidDocument', `Document with name ${name} does not exist.`);
    const wanted =
      version === '$DEFAULT'
        ? document.defaultVersion
        : version === '$LATEST'
          ? document.versions.at(-1)?.version
          : version;
    const found = document.versions.find((candidate) => candidate.version === wanted);
    if (found === undefined)
      throw new AwsError('InvalidDocumentVersion', `Document version ${version} of ${name} does not exist.`);
    return { document, version: found };
  }

  /** @throws AwsError DocumentAlreadyExists, InvalidDocumentContent, InvalidDocumentSchemaVersion */
  create(name: string, type: string, text: string, format: string, now: number): SsmDocument {
    if (this.#documents.has(name))
      throw new AwsError('DocumentAlreadyExists', `The specified document ${name} already exists.`);
    this.#check(type, text, format);
    const document: SsmDocument = {
      name,
      type,
      versions: [{ version: '1', text, format, createdAt: now }],
      defaultVersion: '1',
    };
    this.#documents.set(name, document);
    this.#save();
    return document;
  }

  /** @throws AwsError DuplicateDocumentContent when it says what the newest version says already */
  update(name: string, text: string, format: string, now: number): DocumentVersion {
    const { document, version } = this.find(name, '$LATEST');
    if (version.text === text) {
      throw new AwsError(
        'DuplicateDocumentContent',
        'The content of the association document matches another document.',
      );
    }
    this.#check(document.type, text, format);
    const added = { version: String(Number(version.version) + 1), text, format, createdAt: now };
    document.versions.push(added);
    this.#save();
    return added;
  }

  setDefault(name: string, version: string): void {
    this.find(name, version).document.defaultVersion = version;
    this.#save();
  }

  delete(name: string): void {
    this.find(name);
    this.#documents.delete(name);
    this.#save();
  }

  #check(type: string, text: string, format: string): void {
    const { schemaVersion, mainSteps = [] } = readContent({ text, format });
    if (!schemaVersions[type]?.includes(schemaVersion)) {
      throw new AwsError(
        'InvalidDocumentSchemaVersion',
        `The local SSM has no ${type} documents of schema ${schemaVersion}.`,
      );
    }
    const names = mainSteps.map(({ name }) => name);
    const wrong = names.find(
      (name, index) => !/^[a-zA-Z0-9_-]{1,128}$/.test(name ?? '') || names.indexOf(name) !== index,
    );
    if (names.length === 0 || wrong !== undefined) {
      throw new AwsError(
        'InvalidDocumentContent',
        names.length === 0 ? 'The document has no steps.' : `The step name ${wrong} is not valid or not unique.`,
      );
    }
  }
}

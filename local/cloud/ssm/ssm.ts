import type { EmitEvent } from '../events/event-bus.ts';
import { accountId, type Principals } from '../principals.ts';
import { AwsError, awsJson, type Operation, type Service } from '../service.ts';
import { Automation } from './automation.ts';
import { createCallApi } from './call-api.ts';
import { DocumentStore, type DocumentVersion, hashOf, readContent, type SsmDocument } from './document-store.ts';
import { ParameterStore } from './parameter-store.ts';
import { type ManagedInstance, RunCommand } from './run-command.ts';

export interface SsmOptions {
  /** Documents and parameters are kept here. Commands and executions are not: they end with the process. */
  readonly stateDirectory: string;
  /** Where the history of commands and executions goes, with parameters and outputs, as lines of JSON. */
  readonly logDirectory: string;
  readonly emit: EmitEvent;
  readonly principals: Principals;
  /** The one endpoint; asked for when a script or an automation starts. */
  readonly endpoint: () => string;
  readonly now?: () => Date;
  /** How long a second of a timeout lasts, for tests; 1000 by default. */
  readonly millisecondsPerSecond?: number;
}

export interface Ssm extends Service {
  register(instance: ManagedInstance): void;
  deregister(instanceId: string): void;
  /** Creates a document, or adds a version and makes it the default one where the content is new. */
  ensureDocument(document: {
    readonly name: string;
    readonly type: string;
    readonly content: string;
    readonly format?: string;
  }): void;
  ensureParameter(name: string, type: string, value: string): void;
  /** Kills what runs. */
  close(): Promise<void>;
}

/** AWS Systems Manager on this machine: documents, Run Command, Automation and Parameter Store. */
export const createSsm = (options: SsmOptions): Ssm => {
  const {
    stateDirectory,
    logDirectory,
    emit,
    principals,
    endpoint,
    now = () => new Date(),
    millisecondsPerSecond = 1000,
  } = options;
  const documents = new DocumentStore(stateDirectory);
  const parameters = new ParameterStore(stateDirectory);
  const common = { documents, logDirectory, emit, now, millisecondsPerSecond };
  const commands = new RunCommand({ ...common, principals, endpoint });
  const automation = new Automation({ ...common, callApi: createCallApi({ endpoint, principals }) });

  const description = (document: SsmDocument, version: DocumentVersion) => {
    const { schemaVersion, description = '', parameters: declared = {} } = readContent(version);
    return {
      Name: document.name,
      DocumentType: document.type,
      DocumentFormat: version.format,
      DocumentVersion: version.version,
      DefaultVersion: document.defaultVersion,
      LatestVersion: document.versions.at(-1)?.version,
      SchemaVersion: schemaVersion,
      Description: description,
      Hash: hashOf(version),
      HashType: 'Sha256',
      Owner: accountId,
      CreatedDate: version.createdAt / 1000,
      Status: 'Active',
      PlatformTypes: ['Linux'],
      Parameters: Object.entries(declared).map(([name, parameter]) => ({
        Name: name,
        Type: parameter.type,
        ...(parameter.default === undefined
          ? {}
          : {
              DefaultValue:
                typeof parameter.default === 'string' ? parameter.default : JSON.stringify(parameter.default),
            }),
      })),
    };
  };

  const documentOperations: Readonly<Record<string, Operation>> = {
    async CreateDocument(input) {
      const document = documents.create(
        input.Name,
        input.DocumentType ?? 'Command',
        input.Content,
        input.DocumentFormat ?? 'JSON',
        now().getTime(),
      );
      return { DocumentDescription: description(document, documents.find(document.name).version) };
    },
    async UpdateDocument(input) {
      const version = documents.update(input.Name, input.Content, input.DocumentFormat ?? 'JSON', now().getTime());
      return { DocumentDescription: description(documents.find(input.Name).document, version) };
    },
    async UpdateDocumentDefaultVersion(input) {
      documents.setDefault(input.Name, input.DocumentVersion);
      return { Description: { Name: input.Name, DefaultVersion: input.DocumentVersion } };
    },
    async DeleteDocument(input) {
      documents.delete(input.Name);
      return {};
    },
    async GetDocument(input) {
      const { document, version } = documents.find(input.Name, input.DocumentVersion);
      return {
        Name: document.name,
        DocumentType: document.type,
        DocumentFormat: version.format,
        DocumentVersion: version.version,
        Content: version.text,
        Status: 'Active',
      };
    },
    async DescribeDocument(input) {
      const { document, version } = documents.find(input.Name, input.DocumentVersion);
      return { Document: description(document, version) };
    },
    async ListDocuments() {
      return {
        DocumentIdentifiers: documents
          .list()
          .map((document) => description(document, documents.find(document.name).version)),
      };
    },
  };

  return {
    ...awsJson('ssm', {
      ...documentOperations,
      ...parameters.operations(now),
      ...commands.operations,
      ...automation.operations,
    }),
    register: (instance) => commands.register(instance),
    deregister: (instanceId) => commands.deregister(instanceId),
    ensureDocument({ name, type, content, format = 'JSON' }) {
      if (!documents.list().some((document) => document.name === name)) {
        documents.create(name, type, content, format, now().getTime());
        return;
      }
      try {
        documents.setDefault(name, documents.update(name, content, format, now().getTime()).version);
      } catch (error) {
        if (!(error instanceof AwsError) || error.code !== 'DuplicateDocumentContent') throw error;
      }
    },
    ensureParameter(name, type, value) {
      parameters.put(name, type, value, true, now().getTime());
    },
    async close() {
      await Promise.all([commands.close(), automation.close()]);
    },
  };
};

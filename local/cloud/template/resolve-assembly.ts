import { isJsonObject, type Json, type JsonObject } from '../json.ts';
import { accountId, region } from '../principals.ts';
import type { Assembly, StackTemplate } from './read-assembly.ts';
import { attributeOf, knownType, type ResourceIdentity } from './resource-identity.ts';

/** A resource that somebody has to make, with everything it refers to in place. */
export interface Resource {
  readonly stackName: string;
  readonly logicalId: string;
  readonly type: string;
  readonly name: string;
  readonly arn: string | undefined;
  readonly properties: JsonObject;
}

export interface ResolvedAssembly {
  /** Those that are made, in the order of the templates; what needs nothing locally is left out. */
  readonly resources: readonly Resource[];
  /** The roles and policies, for those services that judge their callers. */
  readonly policies: readonly Resource[];
  /** Values of the stacks' Outputs, by stack name and output key. */
  readonly outputs: Readonly<Record<string, Readonly<Record<string, Json>>>>;
}

/** An intrinsic function, reference or parameter that the local cloud cannot resolve; the message says which and where. */
export class UnresolvableTemplate extends Error {
  override readonly name = 'UnresolvableTemplate';
}

/**
 * Resolves the stacks of an assembly as CloudFormation would, with names and ARNs that follow from the logical ids. Parameters
 * take their value from `parameters`, then their default. Throws UnresolvableTemplate and UnsupportedResource.
 */
export const resolveAssembly = (
  assembly: Assembly,
  parameters: Readonly<Record<string, string>> = {},
): ResolvedAssembly => {
  const exports = new Map<string, () => Json>();
  const stacks = assembly.stacks.map((stack) => new StackResolver(stack, parameters, exports));
  for (const stack of stacks) {
    stack.addExports();
  }
  return {
    resources: stacks.flatMap((stack) => stack.resources((type, place) => knownType(type, place).made)),
    policies: stacks.flatMap((stack) => stack.resources((type) => policyTypes.includes(type))),
    outputs: Object.fromEntries(stacks.map((stack) => [stack.name, stack.outputs()])),
  };
};

const policyTypes = ['AWS::IAM::Role', 'AWS::IAM::Policy', 'AWS::IAM::ManagedPolicy', 'AWS::S3::BucketPolicy'];

/** What an intrinsic that means "leave this property out" resolves to. */
const noValue = Symbol('AWS::NoValue');
type Resolved = Json | typeof noValue;

class StackResolver {
  readonly name: string;
  readonly #template: JsonObject;
  readonly #parameters: Readonly<Record<string, string>>;
  readonly #exports: Map<string, () => Json>;
  readonly #identities = new Map<string, ResourceIdentity>();
  /** References being followed, to name a cycle and not to recurse without end. */
  readonly #following = new Set<string>();

  constructor(stack: StackTemplate, parameters: Readonly<Record<string, string>>, exports: Map<string, () => Json>) {
    this.name = stack.stackName;
    this.#template = stack.template;
    this.#parameters = parameters;
    this.#exports = exports;
  }

  addExports(): void {
    for (const [key, output] of Object.entries(this.#section('Outputs'))) {
      if (isJsonObject(output) && isJsonObject(output.Export)) {
        const name = this.#text(output.Export.Name, `Outputs.${key}`);
        this.#exports.set(name, () => this.#value(output.Value ?? null, `Outputs.${key}`));
      }
    }
  }

  outputs(): Record<string, Json> {
    return Object.fromEntries(
      Object.entries(this.#section('Outputs')).flatMap(([key, output]) =>
        isJsonObject(output) && this.#included(output, `Outputs.${key}`)
          ? [[key, this.#value(output.Value ?? null, `Outputs.${key}`)]]
          : [],
      ),
    );
  }

  resources(wanted: (type: string, place: string) => boolean): Resource[] {
    return Object.entries(this.#section('Resources')).flatMap(([logicalId, declared]) => {
      if (!isJsonObject(declared) || !this.#included(declared, logicalId)) {
        return [];
      }
      const type = String(declared.Type);
      if (!wanted(type, this.#place(logicalId))) {
        return [];
      }
      const { name, arn } = this.#identity(logicalId, logicalId);
      const properties = this.#value(declared.Properties ?? {}, logicalId) as JsonObject;
      return [{ stackName: this.name, logicalId, type, name, arn, properties }];
    });
  }

  #section(name: string): JsonObject {
    const section = this.#template[name];
    return isJsonObject(section) ? section : {};
  }

  #place(at: string): string {
    return `${this.name}/${at}`;
  }

  #unresolvable(what: string, at: string): UnresolvableTemplate {
    return new UnresolvableTemplate(`${this.#place(at)}: ${what}`);
  }

  #included(declared: JsonObject, at: string): boolean {
    const condition = declared.Condition;
    return typeof condition !== 'string' || this.#condition(condition, at);
  }

  #condition(name: string, at: string): boolean {
    const condition = this.#section('Conditions')[name];
    if (condition === undefined) {
      throw this.#unresolvable(`there is no condition ${name}`, at);
    }
    return this.#truth(condition, `Conditions.${name}`);
  }

  #truth(expression: Json, at: string): boolean {
    if (typeof expression === 'boolean') {
      return expression;
    }
    const [operator, argument] = isJsonObject(expression) ? (Object.entries(expression)[0] ?? []) : [];
    const items = Array.isArray(argument) ? (argument as readonly Json[]) : [];
    switch (operator) {
      case 'Condition':
        return this.#condition(String(argument), at);
      case 'Fn::Equals':
        return String(this.#value(items[0] ?? null, at)) === String(this.#value(items[1] ?? null, at));
      case 'Fn::And':
        return items.every((item) => this.#truth(item, at));
      case 'Fn::Or':
        return items.some((item) => this.#truth(item, at));
      case 'Fn::Not':
        return !this.#truth(items[0] ?? null, at);
      default:
        throw this.#unresolvable(`${operator} is not supported in a condition`, at);
    }
  }

  #identity(logicalId: string, at: string): ResourceIdentity {
    const known = this.#identities.get(logicalId);
    if (known !== undefined) {
      return known;
    }
    const declared = this.#section('Resources')[logicalId];
    if (!isJsonObject(declared)) {
      throw this.#unresolvable(`there is no resource ${logicalId}`, at);
    }
    if (this.#following.has(logicalId)) {
      throw this.#unresolvable(`the name of ${logicalId} depends on itself`, at);
    }
    this.#following.add(logicalId);
    try {
      const properties = isJsonObject(declared.Properties) ? declared.Properties : {};
      const identity = knownType(String(declared.Type), this.#place(logicalId)).identify({
        stackName: this.name,
        logicalId,
        property: (name) => {
          const value = properties[name];
          const resolved = value === undefined ? noValue : this.#resolve(value, logicalId);
          return resolved === noValue ? undefined : resolved;
        },
      });
      this.#identities.set(logicalId, identity);
      return identity;
    } finally {
      this.#following.delete(logicalId);
    }
  }

  /** A value that has to be there. */
  #value(value: Json, at: string): Json {
    const resolved = this.#resolve(value, at);
    if (resolved === noValue) {
      throw this.#unresolvable('AWS::NoValue has no value', at);
    }
    return resolved;
  }

  #text(value: Json | undefined, at: string): string {
    const resolved = this.#value(value ?? null, at);
    if (typeof resolved === 'object') {
      throw this.#unresolvable(`${JSON.stringify(value)} is not text`, at);
    }
    return String(resolved);
  }

  #list(value: Json | undefined, at: string): readonly Json[] {
    const resolved = this.#value(value ?? null, at);
    if (!Array.isArray(resolved)) {
      throw this.#unresolvable(`${JSON.stringify(value)} is not a list`, at);
    }
    return resolved as readonly Json[];
  }

  #resolve(value: Json, at: string): Resolved {
    if (typeof value === 'string' && value.includes('{{resolve:')) {
      throw this.#unresolvable(`the dynamic reference ${value} is not supported`, at);
    }
    if (Array.isArray(value)) {
      return (value as readonly Json[])
        .map((item) => this.#resolve(item, at))
        .filter((item) => item !== noValue) as Json[];
    }
    if (!isJsonObject(value)) {
      return value;
    }
    const entries = Object.entries(value);
    const [key, argument] = entries[0] ?? [];
    if (
      entries.length === 1 &&
      key !== undefined &&
      argument !== undefined &&
      (key === 'Ref' || key.startsWith('Fn::'))
    ) {
      return this.#intrinsic(key, argument, at);
    }
    return Object.fromEntries(
      entries.flatMap(([name, inner]) => {
        const resolved = this.#resolve(inner, `${at}.${name}`);
        return resolved === noValue ? [] : [[name, resolved]];
      }),
    );
  }

  #intrinsic(name: string, argument: Json, at: string): Resolved {
    const items = Array.isArray(argument) ? (argument as readonly Json[]) : [];
    switch (name) {
      case 'Ref':
        return this.#ref(String(argument), at);
      case 'Fn::GetAtt': {
        const [logicalId, ...attribute] = typeof argument === 'string' ? argument.split('.') : items.map(String);
        return this.#attribute(String(logicalId), attribute.join('.'), at);
      }
      case 'Fn::Join':
        return this.#list(items[1], at)
          .map((item) => this.#text(item, at))
          .join(String(items[0]));
      case 'Fn::Sub':
        return this.#substitute(typeof argument === 'string' ? [argument] : items, at);
      case 'Fn::Select': {
        const selected = this.#list(items[1], at)[Number(this.#text(items[0], at))];
        if (selected === undefined) {
          throw this.#unresolvable(`Fn::Select finds nothing at ${JSON.stringify(items[0])}`, at);
        }
        return selected;
      }
      case 'Fn::Split':
        return this.#text(items[1], at).split(String(items[0]));
      case 'Fn::If':
        return this.#resolve((this.#condition(String(items[0]), at) ? items[1] : items[2]) ?? null, at);
      case 'Fn::FindInMap': {
        const [map, top, second] = items.slice(0, 3).map((item) => this.#text(item, at));
        const row = (this.#section('Mappings')[map as string] as JsonObject | undefined)?.[top as string];
        const found = isJsonObject(row) ? row[second as string] : undefined;
        if (found === undefined) {
          throw this.#unresolvable(`there is no ${map}.${top}.${second} in Mappings`, at);
        }
        return found;
      }
      case 'Fn::Base64':
        return Buffer.from(this.#text(argument, at)).toString('base64');
      case 'Fn::ToJsonString':
        return JSON.stringify(this.#value(argument, at));
      case 'Fn::ImportValue': {
        const exported = this.#exports.get(this.#text(argument, at));
        if (exported === undefined) {
          throw this.#unresolvable(`no stack exports ${this.#text(argument, at)}`, at);
        }
        return exported();
      }
      default:
        throw this.#unresolvable(`the intrinsic function ${name} is not supported`, at);
    }
  }

  #ref(name: string, at: string): Resolved {
    switch (name) {
      case 'AWS::AccountId':
        return accountId;
      case 'AWS::Region':
        return region;
      case 'AWS::Partition':
        return 'aws';
      case 'AWS::URLSuffix':
        return 'amazonaws.com';
      case 'AWS::StackName':
        return this.name;
      case 'AWS::StackId':
        return `arn:aws:cloudformation:${region}:${accountId}:stack/${this.name}/local`;
      case 'AWS::NotificationARNs':
        return [];
      case 'AWS::NoValue':
        return noValue;
    }
    const parameter = this.#section('Parameters')[name];
    if (isJsonObject(parameter)) {
      const value = this.#parameters[name] ?? parameter.Default;
      if (value === undefined) {
        throw this.#unresolvable(`the parameter ${name} has no value and no default`, at);
      }
      if (String(parameter.Type).startsWith('AWS::SSM::Parameter::Value') && this.#parameters[name] === undefined) {
        throw this.#unresolvable(
          `the parameter ${name} is read from SSM (${JSON.stringify(value)}); give its value`,
          at,
        );
      }
      const list = parameter.Type === 'CommaDelimitedList' || String(parameter.Type).startsWith('List<');
      return list
        ? String(value)
            .split(',')
            .map((item) => item.trim())
        : String(value);
    }
    return this.#identity(name, at).ref;
  }

  #attribute(logicalId: string, attribute: string, at: string): Json {
    const value = attributeOf(this.#identity(logicalId, at), attribute);
    if (value === undefined) {
      throw this.#unresolvable(`the local cloud does not know ${logicalId}.${attribute}`, at);
    }
    return value;
  }

  #substitute([template, own]: readonly Json[], at: string): string {
    const variables = own !== undefined && isJsonObject(own) ? own : {};
    return String(template).replaceAll(/\$\{(!?)([^}]+)\}/g, (_found, literal: string, inner: string) => {
      if (literal === '!') {
        return `\${${inner}}`;
      }
      if (Object.hasOwn(variables, inner)) {
        return this.#text(variables[inner], at);
      }
      const [logicalId, ...attribute] = inner.split('.');
      const value =
        attribute.length === 0 ? this.#ref(inner, at) : this.#attribute(String(logicalId), attribute.join('.'), at);
      if (value === noValue || typeof value === 'object') {
        throw this.#unresolvable(`\${${inner}} is not text`, at);
      }
      return String(value);
    });
  }
}

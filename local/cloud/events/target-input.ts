import { isJsonObject, type Json, type JsonObject } from '../json.ts';

/** How a rule's target gets its input; at most one of the three. */
export interface InputShape {
  readonly Input?: string;
  readonly InputPath?: string;
  readonly InputTransformer?: {
    readonly InputPathsMap?: Readonly<Record<string, string>>;
    readonly InputTemplate: string;
  };
}

/** The JSON path of a target: `$`, fields and indexes. A path that leads nowhere gives undefined. */
const valueAt = (path: string, event: Json): Json | undefined => {
  const steps = [...path.matchAll(/\.([\w-]+)|\[(\d+)\]|\['([^']+)'\]/g)];
  return steps.reduce<Json | undefined>((value, [, field, index, quoted]) => {
    if (index !== undefined) {
      return Array.isArray(value) ? (value as readonly Json[])[Number(index)] : undefined;
    }
    return value !== undefined && isJsonObject(value) ? value[(field ?? quoted) as string] : undefined;
  }, event);
};

/**
 * The text that a target receives for an event (EventBridge User Guide, "Amazon EventBridge input transformation"). In a template,
 * `<name>` inside a string is replaced by the text, elsewhere by the JSON of the value; a value that is not there becomes empty
 * text or null.
 */
export const targetInput = (shape: InputShape, event: JsonObject, ruleArn: string): string => {
  if (shape.Input !== undefined) {
    return shape.Input;
  }
  if (shape.InputPath !== undefined) {
    return JSON.stringify(valueAt(shape.InputPath, event) ?? null);
  }
  if (shape.InputTransformer === undefined) {
    return JSON.stringify(event);
  }
  const { InputPathsMap: paths = {}, InputTemplate: template } = shape.InputTransformer;
  const values: Record<string, Json | undefined> = {
    'aws.events.rule-arn': ruleArn,
    'aws.events.rule-name': ruleArn.split('/').at(-1) ?? '',
    'aws.events.event': event,
    'aws.events.event.json': event,
    'aws.events.event.ingestion-time': event.time ?? null,
  };
  for (const [name, path] of Object.entries(paths)) {
    values[name] = valueAt(path, event);
  }
  let inString = false;
  return template.replaceAll(/\\.|"|<([\w.-]+)>/gs, (found, name: string | undefined) => {
    if (found === '"') {
      inString = !inString;
    }
    if (name === undefined || !Object.hasOwn(values, name)) {
      return found;
    }
    const value = values[name];
    if (!inString) {
      return JSON.stringify(value ?? null);
    }
    const plain = value === undefined ? '' : typeof value === 'string' ? value : JSON.stringify(value);
    return JSON.stringify(plain).slice(1, -1);
  });
};

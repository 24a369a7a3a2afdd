const reference = /\{\{\s*([\w:.-]+)\s*\}\}/g;
const onlyReference = /^\{\{\s*([\w:.-]+)\s*\}\}$/;

const asText = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value));

/**
 * Puts values for `{{ name }}` wherever they stand in strings of a value. A string that is nothing but one reference becomes
 * the referred value with its type; inside other text, lists and maps become JSON, and nothing is escaped: as SSM does.
 * A name that `lookUp` does not know stays as it is written.
 */
export const interpolate = (value: unknown, lookUp: (name: string) => unknown): unknown => {
  if (typeof value === 'string') {
    const whole = onlyReference.exec(value)?.[1];
    if (whole !== undefined) return lookUp(whole) ?? value;
    return value.replace(reference, (text, name: string) => {
      const found = lookUp(name);
      return found === undefined ? text : asText(found);
    });
  }
  if (Array.isArray(value)) {
    // A list that is put in as an item becomes its items, so that `runCommand: ["{{ commands }}"]` works.
    return value.flatMap((item) => {
      const replaced = interpolate(item, lookUp);
      return typeof item === 'string' && Array.isArray(replaced) ? replaced : [replaced];
    });
  }
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, interpolate(item, lookUp)]));
  }
  return value;
};

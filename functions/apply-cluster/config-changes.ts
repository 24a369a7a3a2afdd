import type { ClusterConfig } from '#core/cluster-config.ts';
import { canonicalJson } from '#core/manifest.ts';

/** Every value of a configuration by its dotted path. */
const values = (value: unknown, path: string, into: Map<string, string>): Map<string, string> => {
  if (typeof value === 'object' && value !== null) {
    for (const [key, item] of Object.entries(value)) values(item, path ? `${path}.${key}` : key, into);
  } else if (value !== undefined) into.set(path, canonicalJson(value));
  return into;
};

/** One line for each difference between what was applied before and what is now; everything, where nothing was. */
export const configChanges = (before: ClusterConfig | undefined, after: ClusterConfig): readonly string[] => {
  const was = values(before ?? {}, '', new Map());
  const is = values(after, '', new Map());
  const paths = [...new Set([...was.keys(), ...is.keys()])].sort();
  return paths.flatMap((path) => {
    const [old, now] = [was.get(path), is.get(path)];
    if (old === now) return [];
    if (old === undefined) return [`${path}: ${now}`];
    return now === undefined ? [`${path}: ${old} is gone`] : [`${path}: ${old} → ${now}`];
  });
};

/** Below 0, 0 or above 0, by the leading dotted numbers: `10.11.9` is before `10.11.19-MariaDB`. What follows them does not count. */
export const compareVersions = (one: string, other: string): number => {
  const [a, b] = [one, other].map((version) => (/^\d+(\.\d+)*/.exec(version)?.[0] ?? '').split('.').map(Number));
  for (let place = 0; place < Math.max(a?.length ?? 0, b?.length ?? 0); place++) {
    const difference = (a?.[place] ?? 0) - (b?.[place] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
};

const buildOf = (version: string): number => Number(/^[\d.]+-(\d+)/.exec(version)?.[1] ?? 0);

/** As `compareVersions`, and by the build where the numbers are the same: `8.0.35-30` is before `8.0.35-31`. A word is no build. */
export const compareBuilds = (one: string, other: string): number =>
  compareVersions(one, other) || buildOf(one) - buildOf(other);

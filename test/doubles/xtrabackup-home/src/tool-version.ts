/** Which XtraBackup this stands in for: 2.4.7, as recorded, unless REDOUBT_STANDIN_VERSION names another. */
export interface ToolVersion {
  /** `2.4.7`, `8.0.35`. */
  readonly version: string;
  /** At least this version, of the same major one or a later. */
  atLeast(version: string): boolean;
  /** 8.0 and later. */
  readonly modern: boolean;
}

const numbers = (version: string): readonly number[] => version.split('.').map((part) => Number.parseInt(part, 10));

export const toolVersion = (modelled = process.env.REDOUBT_STANDIN_VERSION): ToolVersion => {
  const version = modelled ?? '2.4.7';
  const own = numbers(version);
  return {
    version,
    modern: (own[0] ?? 0) >= 8,
    atLeast: (other) => {
      for (const [place, wanted] of numbers(other).entries()) {
        const here = own[place] ?? 0;
        if (here !== wanted) return here > wanted;
      }
      return true;
    },
  };
};

/** Which server this stands in for: `5.7.13` unless the version of XtraBackup that is modelled asks for another. */
export interface ServerVersion {
  readonly version: string;
  readonly major: number;
  readonly minor: number;
  /** 8.0 and later: no `.frm`, other names in information_schema, components. */
  readonly modern: boolean;
}

export const serverVersion = (modelled = process.env.REDOUBT_STANDIN_VERSION): ServerVersion => {
  const [major = 2, minor = 4, patch = 7] = (modelled ?? '2.4.7').split('.').map(Number);
  if (major === 2) return { version: '5.7.13-log', major: 5, minor: 7, modern: false };
  return { version: `${major}.${minor}.${patch}`, major, minor, modern: true };
};

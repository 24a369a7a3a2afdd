export const megabytes = (bytes: number): string =>
  bytes >= 1e9 ? `${(bytes / 1e9).toFixed(bytes >= 1e10 ? 0 : 2)} GB` : `${Math.round(bytes / 1e6)} MB`;

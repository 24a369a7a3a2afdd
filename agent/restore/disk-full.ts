import { RedoubtError } from '#core/errors.ts';

/** `DiskFull` where that is what `error` says happened at `path`; otherwise `error` itself. */
export const diskFullOr = (error: unknown, path: string): unknown => {
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  return code === 'ENOSPC' || code === 'EDQUOT'
    ? new RedoubtError('DiskFull', `no space is left for ${path}`, { cause: error })
    : error;
};

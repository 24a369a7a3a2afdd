import { toolVersion } from '../tool-version.ts';
import { tell } from './console.ts';

/** The line every run has. */
export const tellVersion = (): void => {
  const { version, modern } = toolVersion();
  const server = modern ? version : '5.7.13';
  tell.raw(
    `xtrabackup version ${version}${modern ? '-1' : ''} based on MySQL server ${server} Linux (x86_64) (revision id: ${modern ? 'standin' : ''})`,
  );
};

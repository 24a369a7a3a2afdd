import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { RedoubtError } from '#core/errors.ts';
import { pluginDirectoryIn } from '../engines/key-management-options.ts';

const LIBRARY = 'file_key_management.so';

/** Where the packages of Debian, Ubuntu, RHEL and Amazon Linux put MariaDB's plugins. */
const PLACES = ['/usr/lib/mysql/plugin', '/usr/lib64/mysql/plugin', '/usr/lib64/mariadb/plugin'] as const;

/**
 * Where this host has the plugin that a backup's options name; `undefined` where it is in the same place as on the host the backup was taken
 * on. Throws `EncryptionUnsupported` where it is nowhere: mariadb-backup would go on without and fail at the redo log.
 */
export const keyManagementPlugin = (options: string, places: readonly string[] = PLACES): string | undefined => {
  const recorded = pluginDirectoryIn(options);
  if (recorded !== undefined && existsSync(join(recorded, LIBRARY))) return undefined;
  const found = places.find((place) => existsSync(join(place, LIBRARY)));
  if (found !== undefined) return found;
  throw new RedoubtError(
    'EncryptionUnsupported',
    `this host has no ${LIBRARY}, neither in ${[recorded, ...places].filter(Boolean).join(' nor in ')}: install the server's package (mariadb-server)`,
  );
};

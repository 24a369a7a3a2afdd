import { open } from 'node:fs/promises';

/** Makes the names in `directory` durable: what was created, renamed or removed there survives a loss of power. */
export const syncDirectory = async (directory: string): Promise<void> => {
  const handle = await open(directory, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
};

import { RedoubtError } from '#core/errors.ts';
import { runProgram } from './run-program.ts';

/** Everything that was written to the file system of `directory` is on its disk when this settles. Throws `Unexpected`. */
export const syncFileSystem = async (directory: string, signal: AbortSignal): Promise<void> => {
  const { code, said } = await runProgram(['sync', '--file-system', directory], signal);
  if (code !== 0) throw new RedoubtError('Unexpected', `${directory} cannot be synced: ${said}`);
};

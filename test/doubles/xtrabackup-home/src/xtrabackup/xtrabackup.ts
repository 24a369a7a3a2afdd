import { backup } from './backup.ts';
import { Exit, tell } from './console.ts';
import { copyBack } from './copy-back.ts';
import { decrypt } from './decrypt.ts';
import { readOptions } from './options.ts';
import { prepare } from './prepare.ts';
import { tellVersion } from './tell-version.ts';
import { usage } from './usage.ts';

const args = process.argv.slice(2);

/** The password is hidden from `ps` once it is read; the keys of 2.4.7 are not (recorded: 98). */
const hidePassword = (): void => {
  if (!args.some((argument) => argument.startsWith('--password='))) return;
  process.title = [
    'xtrabackup',
    ...args.map((argument) => argument.replace(/^(--password=).+/s, (_, name: string) => `${name}x`)),
  ].join(' ');
};

const run = async (): Promise<number> => {
  hidePassword();
  try {
    const options = readOptions(args);
    if (options.has('version')) {
      tellVersion();
      return 0;
    }
    const modes = ['backup', 'prepare', 'copy-back', 'move-back'].filter((mode) => options.has(mode));
    const transforms = options.has('decrypt') || options.has('decompress');
    if (options.has('help') || modes.length + (transforms ? 1 : 0) !== 1) {
      usage();
      return 1;
    }
    if (options.has('backup')) await backup(options);
    else if (options.has('prepare')) await prepare(options);
    else if (transforms) decrypt(options);
    else copyBack(options, options.has('move-back'));
    return 0;
  } catch (error) {
    if (error instanceof Exit) return error.code;
    tell.raw(`the stand-in failed: ${(error as Error).stack}`);
    return 70;
  }
};

process.exit(await run());

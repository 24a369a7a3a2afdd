import { tellVersion } from './tell-version.ts';

/** What a run without a mode prints, and `--help`; shortened. */
export const usage = (): void => {
  tellVersion();
  process.stdout.write(`Open source backup tool for InnoDB and XtraDB

Usage: [xtrabackup [--defaults-file=#] --backup | xtrabackup [--defaults-file=#] --prepare] [OPTIONS]
  --no-version-check  This option disables the version check which is enabled by the --version-check option.
`);
};

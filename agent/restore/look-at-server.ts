import type { LookAtServer } from './replace-data-directory.ts';

export const lookAtServer: LookAtServer = async () => undefined;

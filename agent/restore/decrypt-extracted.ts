import { rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Engine, EngineVersion } from '#agent/engines/engine.ts';
import { EngineLog } from '#agent/engines/engine-log.ts';
import { runProcess } from '#agent/io/run-process.ts';
import type { SecretDirectory } from '#agent/io/secret-directory.ts';
import type { InventoryDocument } from '#agent/stream/inventory-format.ts';
import { plainPath, XBCRYPT_SUFFIX } from '#agent/stream/xbcrypt.ts';
import { RedoubtError } from '#core/errors.ts';
import type { KeyAlgorithm } from '#core/key-shape.ts';
import { CREDENTIALS } from './fetch-backup.ts';
import { syncFileSystem } from './sync-file-system.ts';

export interface DecryptExtracted {
  readonly engine: Engine;
  readonly version: EngineVersion;
  readonly engineDirectory: string | undefined;
  readonly directory: string;
  readonly inventory: InventoryDocument;
  readonly algorithm: KeyAlgorithm;
  readonly key: Buffer;
  readonly threads: number;
  readonly secrets: SecretDirectory;
  readonly signal: AbortSignal;
}

/**
 * Lets the engine decrypt an extracted backup, and believes it nothing: every file must be there with the very size its chunks announced when the
 * backup was taken, and only then are the encrypted files removed. XtraBackup 2.4.7 exits 0 over damaged, cut and empty files and, told to
 * remove the originals, removes those too (recorded: 37, 63j). Throws `PrepareIncomplete`, `KeyInvalid`, `DiskFull`, or what the judge names.
 */
export const decryptExtracted = async (request: DecryptExtracted): Promise<void> => {
  const { engine, directory, inventory, secrets, signal } = request;
  const keyFile = secrets.write(request.key);
  try {
    const command = engine.decryptCommand(request.version, {
      directory,
      native: { algorithm: request.algorithm, keyFile, threads: request.threads },
      ...(request.engineDirectory === undefined ? {} : { engineDirectory: request.engineDirectory }),
    });
    const log = new EngineLog();
    const running = runProcess(command, {
      secretDirectory: secrets,
      signal,
      stdout: 'ignore',
      onStderrLine: (line) => log.append(line),
    });
    const exit = await running.exited;
    signal.throwIfAborted();
    const verdict = engine.judge('decrypt', exit, log);
    if (verdict.kind === 'refused') throw new RedoubtError(verdict.code, `decrypting: ${verdict.detail}`);
  } finally {
    secrets.remove(keyFile);
  }
  const encrypted = inventory.files.filter(({ path }) => path.endsWith(XBCRYPT_SUFFIX) && !CREDENTIALS.test(path));
  for (const { path, plainBytes } of encrypted) {
    const plain = plainPath(path);
    const found = await stat(join(directory, plain)).catch(() => undefined);
    if (found === undefined) throw new RedoubtError('PrepareIncomplete', `${plain} was not decrypted`);
    if (found.size !== plainBytes)
      throw new RedoubtError('PrepareIncomplete', `${plain} was decrypted to ${found.size} bytes, not ${plainBytes}`);
  }
  await syncFileSystem(directory, signal);
  for (const { path } of encrypted) await rm(join(directory, path));
};

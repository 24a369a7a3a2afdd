import { type Readable, Transform } from 'node:stream';
import { buildDecrypt, type MessageHeader } from '@aws-crypto/decrypt-node';
import { CommitmentPolicy } from '@aws-crypto/material-management-node';
import { RedoubtError } from '#core/errors.ts';
import { encryptionContextOf, type SealContext } from './seal-context.ts';
import { sealingKeyring } from './sealing-keyring.ts';

const { decrypt, decryptStream } = buildDecrypt({
  commitmentPolicy: CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT,
  maxEncryptedDataKeys: 1,
});

const isSame = (found: Readonly<Record<string, string>>, expected: Readonly<Record<string, string>>): boolean => {
  const keys = Object.keys(expected);
  return keys.length === Object.keys(found).length && keys.every((key) => found[key] === expected[key]);
};

const tampered = (context: SealContext, why: string, cause?: unknown): RedoubtError =>
  new RedoubtError('ObjectTampered', `${context.object} of ${context.backup} ${why}`, { cause });

const checkHeader = (header: MessageHeader, context: SealContext): void => {
  if (!isSame(header.encryptionContext, encryptionContextOf(context)))
    throw tampered(context, 'was sealed as another object');
};

/**
 * The plaintext of one message. Yields only frames whose authentication tag held, in their order, and ends normally only
 * after the final frame. Throws `ObjectTampered` for everything else: another key, another context, a cut, a flipped bit.
 * Bytes after the final frame are ignored, as the SDK does: the object's digest covers them. An error of the source itself is
 * thrown as it is.
 */
export async function* unseal(
  source: AsyncIterable<Buffer> | Readable,
  dataKey: Buffer,
  context: SealContext,
): AsyncGenerator<Buffer, void, undefined> {
  const opener = decryptStream(sealingKeyring(dataKey, context.chain), { maxBodySize: 64 * 1024 * 1024 });
  let sourceError: { readonly error: unknown } | undefined;
  opener.once('MessageHeader', (header: MessageHeader) => {
    try {
      checkHeader(header, context);
    } catch (error) {
      opener.destroy(error as Error);
    }
  });
  const output = new Transform({ transform: (chunk, _encoding, done) => done(null, chunk) });
  opener.on('error', (error: Error) => output.destroy(error));
  opener.pipe(output);
  const feeding = (async () => {
    try {
      for await (const piece of source) {
        if (output.destroyed) return;
        if (!opener.write(piece)) {
          await new Promise<void>((resolve) => {
            const go = (): void => {
              opener.off('drain', go);
              output.off('close', go);
              resolve();
            };
            opener.once('drain', go);
            output.once('close', go);
          });
        }
      }
      if (!output.destroyed) opener.end();
    } catch (error) {
      sourceError = { error };
      output.destroy(error as Error);
    }
  })();
  try {
    for await (const piece of output) yield piece as Buffer;
    await feeding;
  } catch (error) {
    if (sourceError !== undefined) throw sourceError.error;
    throw error instanceof RedoubtError ? error : tampered(context, 'does not open: its authentication fails', error);
  } finally {
    output.destroy();
    opener.destroy();
  }
}

/** The same for something small. */
export const unsealBuffer = async (message: Buffer, dataKey: Buffer, context: SealContext): Promise<Buffer> => {
  let opened: Awaited<ReturnType<typeof decrypt>>;
  try {
    opened = await decrypt(sealingKeyring(dataKey, context.chain), message);
  } catch (error) {
    throw tampered(context, 'does not open: its authentication fails', error);
  }
  checkHeader(opened.messageHeader, context);
  return opened.plaintext;
};

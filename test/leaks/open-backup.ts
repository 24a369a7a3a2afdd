import { decompress } from '#agent/stream/decompress.ts';
import { sealContextOf } from '#agent/stream/seal-context.ts';
import { unsealBuffer } from '#agent/stream/unseal.ts';
import { decryptXbcrypt, plainPath, XBCRYPT_SUFFIX } from '#agent/stream/xbcrypt.ts';
import { XbstreamReader } from '#agent/stream/xbstream-reader.ts';
import type { Manifest } from '#core/manifest.ts';
import type { KeyPurpose } from '#core/wrapped-key.ts';
import type { Place } from './place.ts';

/** What lies sealed in the bucket, opened, the escrowed keyring excepted: engine log, inventory, every file of the stream. */
export const openBackup = async (
  manifest: Manifest,
  keys: Readonly<Partial<Record<KeyPurpose, Buffer>>>,
  read: (key: string) => Promise<Buffer>,
): Promise<readonly Place[]> => {
  const engineKey = keys['engine-key'];
  const open = async (key: string): Promise<Buffer> =>
    unsealBuffer(await read(key), keys['backup-data'] as Buffer, sealContextOf(manifest, key));
  const segments = await Promise.all(
    manifest.segments.map(({ key }) => (manifest.stream.encryption === 'native' ? read(key) : open(key))),
  );
  const files = [...(await filesOf(segments))].map(([path, content]) => ({
    name: plainPath(path),
    content: path.endsWith(XBCRYPT_SUFFIX) && engineKey !== undefined ? decryptXbcrypt(content, engineKey) : content,
  }));
  return [
    { name: 'engine log', content: await open(manifest.engineLog.key) },
    { name: 'inventory', content: await open(manifest.inventory.key) },
    ...files,
  ].map(({ name, content }) => ({ name: `${name} of ${manifest.kind}`, content }));
};

const filesOf = async (segments: readonly Buffer[]): Promise<ReadonlyMap<string, Buffer>> => {
  const pieces = new Map<string, Buffer[]>();
  const reader = new XbstreamReader();
  async function* compressed(): AsyncGenerator<Buffer, void, undefined> {
    yield* segments;
  }
  for await (const block of decompress(compressed()))
    for (const event of reader.push(block)) {
      if (event.kind !== 'data') continue;
      const parts = pieces.get(event.path) ?? [];
      parts.push(Buffer.from(event.data));
      pieces.set(event.path, parts);
    }
  reader.end();
  return new Map([...pieces].map(([path, parts]) => [path, Buffer.concat(parts)]));
};

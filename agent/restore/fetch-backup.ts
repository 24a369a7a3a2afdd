import { rm } from 'node:fs/promises';
import type { Repository } from '#agent/repository/repository.ts';
import { decompress } from '#agent/stream/decompress.ts';
import { Inventory, inventoryDifference } from '#agent/stream/inventory.ts';
import { type InventoryDocument, inventoryDocumentSchema } from '#agent/stream/inventory-format.ts';
import { sealContextOf } from '#agent/stream/seal-context.ts';
import { unseal, unsealBuffer } from '#agent/stream/unseal.ts';
import { XbstreamReader } from '#agent/stream/xbstream-reader.ts';
import { RedoubtError } from '#core/errors.ts';
import { type Manifest, manifestObjects, type StoredObject } from '#core/manifest.ts';
import { DecryptedEvents } from './decrypted-events.ts';
import { download, downloadWhole } from './download.ts';
import { Extractor } from './extractor.ts';

/** What an inventory of a hundred thousand tables takes, many times over. */
const MAX_INVENTORY_BYTES = 256 * 1024 * 1024;

const HEADS_AT_A_TIME = 8;

/**
 * Asks for every object of the backups before anything is downloaded: a restore of many hours should not end at its last segment. Throws
 * `ObjectMissing`, or `ObjectTampered` where the size is another. The engine log is not needed to restore.
 */
export const checkObjects = async (repository: Repository, manifests: readonly Manifest[]): Promise<void> => {
  const objects = manifests
    .flatMap((manifest) => manifestObjects(manifest).filter((object) => object !== manifest.engineLog))
    .values();
  const worker = async (): Promise<void> => {
    for (const object of objects) {
      const { bytes } = await repository.head(object.key, object.version);
      if (bytes !== object.bytes)
        throw new RedoubtError('ObjectTampered', `${object.key} has ${bytes} bytes, not ${object.bytes}`);
    }
  };
  await Promise.all(Array.from({ length: HEADS_AT_A_TIME }, worker));
};

/** The inventory of a backup, verified, unsealed and parsed. Throws `ObjectTampered` or `ObjectMissing`. */
export const fetchInventory = async (
  repository: Repository,
  manifest: Manifest,
  dataKey: Buffer,
  signal: AbortSignal,
): Promise<InventoryDocument> => {
  const object: StoredObject = manifest.inventory;
  if (object.bytes > MAX_INVENTORY_BYTES)
    throw new RedoubtError('ObjectTampered', `${object.key} has ${object.bytes} bytes: no inventory is that large`);
  const sealed = await downloadWhole(repository, object, signal);
  const text = await unsealBuffer(sealed, dataKey, sealContextOf(manifest, object.key));
  const parsed = inventoryDocumentSchema.safeParse(JSON.parse(text.toString('utf8')));
  if (!parsed.success)
    throw new RedoubtError('ObjectTampered', `${object.key} is not an inventory this agent can read`);
  return parsed.data;
};

/** The engine's stream: what of it has passed is authenticated, the segment at hand is verified only once it has passed whole. */
async function* streamOf(
  repository: Repository,
  manifest: Manifest,
  dataKey: Buffer,
  signal: AbortSignal,
): AsyncGenerator<Buffer, void, undefined> {
  async function* compressed(): AsyncGenerator<Buffer, void, undefined> {
    // What only the engine encrypted has no seal: its digests are in the manifest, and that is authenticated.
    for await (const { object, content } of download(repository, manifest.segments, signal))
      yield* manifest.stream.encryption === 'native'
        ? content
        : unseal(content, dataKey, sealContextOf(manifest, object.key));
  }
  yield* decompress(compressed());
}

/**
 * XtraBackup 8 puts the configuration of the server's keyring component into the backup, the token of a Vault or the secret key of AWS
 * included. The keyring of the backup is escrowed; this copy of it never gets to a disk.
 */
export const CREDENTIALS = /^(\.\/)?(xtrabackup_)?component_keyring_\w+\.cnf(\.xbcrypt)?$/;

export interface FetchRequest {
  readonly repository: Repository;
  readonly manifest: Manifest;
  readonly inventory: InventoryDocument;
  readonly dataKey: Buffer;
  /** Decrypts what the engine encrypted while it passes; absent: it is extracted as it is. */
  readonly engineKey: Buffer | undefined;
  /** Must not exist. Gone again where this throws. */
  readonly into: string;
  readonly signal: AbortSignal;
  /** Told of what was written since it was last told. */
  readonly onProgress: (bytes: number, files: number) => void;
}

/**
 * Downloads one backup and extracts it into a private directory, where no engine sees it before the last byte was verified: the SHA-256 of
 * each object, the authentication of each frame, the checksum of each chunk (of the engine's own encryption too), and at the end the inventory,
 * name by name. It may still be in memory only: sync it before anything says that it is there. Throws `ObjectTampered`, `ObjectMissing`,
 * `KeyInvalid`, `DiskFull`, or what the repository says.
 */
export const fetchBackup = async (request: FetchRequest): Promise<void> => {
  const { manifest, into } = request;
  const reader = new XbstreamReader();
  const inventory = new Inventory();
  const decrypted = request.engineKey && new DecryptedEvents(request.inventory, request.engineKey);
  const extractor = await Extractor.create(into);
  try {
    for await (const piece of streamOf(request.repository, manifest, request.dataKey, request.signal)) {
      request.signal.throwIfAborted();
      const files = inventory.files;
      for (const event of reader.push(piece)) {
        inventory.note(event);
        if (CREDENTIALS.test(event.path)) continue;
        for (const written of decrypted?.of(event) ?? [event]) await extractor.note(written);
      }
      request.onProgress(piece.length, inventory.files - files);
      extractor.free(piece);
    }
    reader.end();
    const found = inventory.finish();
    await extractor.finish();
    if (reader.offset !== manifest.stream.bytes)
      throw new RedoubtError(
        'ObjectTampered',
        `the stream of ${manifest.backup} has ${reader.offset} bytes, not ${manifest.stream.bytes}`,
      );
    const difference = inventoryDifference(request.inventory, found);
    if (difference !== undefined)
      throw new RedoubtError('ObjectTampered', `${manifest.backup} is not what its inventory says: ${difference}`);
  } catch (error) {
    await extractor.abandon();
    await rm(into, { recursive: true, force: true });
    request.signal.throwIfAborted();
    throw asStored(error, manifest);
  }
};

/** The reader speaks of a stream as it is taken; here the same words mean that the stored one is not sound. */
const asStored = (error: unknown, manifest: Manifest): unknown =>
  error instanceof RedoubtError && (error.code === 'StreamCorrupt' || error.code === 'StreamIncomplete')
    ? new RedoubtError('ObjectTampered', `the stream of ${manifest.backup} is not sound: ${error.detail}`, {
        cause: error,
      })
    : error;

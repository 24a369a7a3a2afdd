import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';

export type EncryptionContext = Readonly<Record<string, string>>;

const magic = Buffer.from([0x01, 0x02, 0x02, 0x00]);
const ivLength = 12;
const tagLength = 16;

/** Pairs sorted by key and length-prefixed: two contexts have the same bytes only if they are the same. */
const associatedData = (header: Buffer, context: EncryptionContext): Buffer => {
  const field = (text: string) => {
    const bytes = Buffer.from(text, 'utf8');
    const length = Buffer.alloc(4);
    length.writeUInt32BE(bytes.length);
    return Buffer.concat([length, bytes]);
  };
  const pairs = Object.entries(context).sort(([a], [b]) => (a < b ? -1 : 1));
  return Buffer.concat([header, ...pairs.flatMap(([key, value]) => [field(key), field(value)])]);
};

const headerOf = (keyId: string, version: number): Buffer => {
  const id = Buffer.from(keyId, 'utf8');
  return Buffer.concat([magic, Buffer.from([version >> 8, version & 0xff, id.length]), id]);
};

/** AES-256-GCM under a KMS key's material; the blob names the key and the version of its material, as KMS's own does. */
export const sealBlob = (
  key: { readonly keyId: string; readonly version: number; readonly material: Buffer },
  plaintext: Buffer,
  context: EncryptionContext,
): Buffer => {
  const header = headerOf(key.keyId, key.version);
  const iv = randomBytes(ivLength);
  const cipher = createCipheriv('aes-256-gcm', key.material, iv);
  cipher.setAAD(associatedData(header, context));
  const sealed = Buffer.concat([cipher.update(plaintext), cipher.final()]);
  return Buffer.concat([header, iv, cipher.getAuthTag(), sealed]);
};

export interface ParsedBlob {
  readonly keyId: string;
  readonly version: number;
  /** @throws if the material, the encryption context or the bytes are not those it was sealed with. */
  open(material: Buffer, context: EncryptionContext): Buffer;
}

/** Undefined for bytes that are no ciphertext blob of ours. */
export const parseBlob = (blob: Buffer): ParsedBlob | undefined => {
  const idLength = blob[magic.length + 2] ?? 0;
  const headerLength = magic.length + 3 + idLength;
  if (blob.length < headerLength + ivLength + tagLength || !blob.subarray(0, magic.length).equals(magic)) {
    return undefined;
  }
  const header = blob.subarray(0, headerLength);
  const iv = blob.subarray(headerLength, headerLength + ivLength);
  const tag = blob.subarray(headerLength + ivLength, headerLength + ivLength + tagLength);
  return {
    keyId: header.subarray(magic.length + 3).toString('utf8'),
    version: header.readUInt16BE(magic.length),
    open(material, context) {
      const decipher = createDecipheriv('aes-256-gcm', material, iv);
      decipher.setAAD(associatedData(header, context));
      decipher.setAuthTag(tag);
      return Buffer.concat([decipher.update(blob.subarray(headerLength + ivLength + tagLength)), decipher.final()]);
    },
  };
};

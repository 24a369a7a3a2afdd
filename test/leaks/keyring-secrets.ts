import { readFileSync } from 'node:fs';
import { parseComponentKeyring } from '#agent/keyring/component-keyring-format.ts';
import { parseKeyringFile } from '#agent/keyring/keyring-file-format.ts';
import type { Secret } from './needles.ts';

/** What the plugin keyring_file does to a key in its file. */
const PAD = Buffer.from('*305=Ljt0*!@$Hnm(*-9-w;:');

/** The master keys in the file of a keyring plugin or component, also as the plugin's file has them. Throws where it is neither. */
export const masterKeysIn = (path: string): readonly Secret[] => {
  const content = readFileSync(path);
  const keys = content.toString('latin1', 0, 1) === '{' ? parseComponentKeyring(content) : parseKeyringFile(content);
  if (typeof keys === 'string') throw new Error(keys);
  return keys.flatMap(({ name, bytes }) => [
    { name, bytes },
    {
      name: `${name} in its file`,
      bytes: bytes.map((byte, index) => byte ^ (PAD[index % PAD.length] as number)) as Buffer,
    },
  ]);
};

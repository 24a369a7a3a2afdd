import type { ErrorCode } from './errors.ts';

export type KeyAlgorithm = 'AES128' | 'AES192' | 'AES256';

const KEY_BYTES: Readonly<Record<KeyAlgorithm, number>> = { AES128: 16, AES192: 24, AES256: 32 };

/** Bytes a key of this algorithm has. */
export const keyBytes = (algorithm: KeyAlgorithm): number => KEY_BYTES[algorithm];

export interface KeyFault {
  readonly code: Extract<ErrorCode, 'KeyInvalid'>;
  readonly detail: string;
}

const fault = (detail: string): KeyFault => ({ code: 'KeyInvalid', detail });

const NEWLINE = 0x0a;
const CARRIAGE_RETURN = 0x0d;

/**
 * Why `key` must not reach the engine as a key of `algorithm`, in the words its owner needs; `undefined` where it may. The
 * engine takes a key file byte for byte and lets the length alone choose the cipher: AES256 with 16 bytes is silently
 * AES-128 (recorded: 73e, 97), and a newline at the end makes 33 bytes of 32 (recorded: 30, 31).
 */
export const keyFault = (algorithm: KeyAlgorithm, key: Uint8Array): KeyFault | undefined => {
  const wanted = KEY_BYTES[algorithm];
  if (key.length === wanted) return undefined;
  const last = key.at(-1);
  if (key.length === wanted + 1 && last === NEWLINE)
    return fault(
      `the key has ${key.length} bytes because it ends with a newline; write it with printf %s, not with echo`,
    );
  if (key.length === wanted + 2 && last === NEWLINE && key.at(-2) === CARRIAGE_RETURN)
    return fault(`the key has ${key.length} bytes because it ends with a Windows line end; write it without one`);
  const actual = (Object.keys(KEY_BYTES) as KeyAlgorithm[]).find((name) => KEY_BYTES[name] === key.length);
  if (actual)
    return fault(
      `the key has ${key.length} bytes: the engine would accept it and use ${actual} instead of ${algorithm}`,
    );
  return fault(`the key has ${key.length} bytes, ${algorithm} needs exactly ${wanted}`);
};

const PASSPHRASE = /^[A-Za-z0-9_-]{43}$/;

/**
 * A transition key is the base64url form, without padding, of 32 random bytes: 43 characters that mean nothing to an option
 * file, a shell or a terminal. Anything else did not come from KMS.
 */
export const transitionKeyFault = (passphrase: string): KeyFault | undefined =>
  PASSPHRASE.test(passphrase)
    ? undefined
    : fault(`a transition key has 43 characters of A-Z, a-z, 0-9, - and _; this one has ${passphrase.length}`);

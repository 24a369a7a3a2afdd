import { RedoubtError } from '#core/errors.ts';
import { type KeyAlgorithm, keyFault, transitionKeyFault } from '#core/key-shape.ts';
import type { ChainKeys } from '#core/wrapped-key.ts';
import type { OpenKey } from './open-data-key.ts';

export interface WantedKeys {
  /** Of the engine's own encryption; absent where it does not encrypt. */
  readonly engine: KeyAlgorithm | undefined;
  readonly transition: boolean;
}

/** What of a chain's keys an engine is given, open, in memory only. */
export interface EngineKeys {
  /** For `--encrypt` and `--decrypt`. */
  readonly engine: Buffer | undefined;
  /** For `--transition-key`. */
  readonly passphrase: string | undefined;
  /** Overwrites what can be overwritten. */
  destroy(): void;
}

/**
 * Opens what an engine needs of its chain's keys, and no more. Throws what KMS says; `KeyInvalid` before an engine sees a key of the wrong form;
 * `ChainBroken` where the chain was begun without a key that is asked of it now: a new full makes one.
 */
export const openEngineKeys = async (keys: ChainKeys, wanted: WantedKeys, openKey: OpenKey): Promise<EngineKeys> => {
  const opened: { destroy(): void }[] = [];
  const open = async (name: 'engine' | 'transition'): Promise<Buffer> => {
    const wrapped = keys[name];
    if (wrapped === undefined)
      throw new RedoubtError('ChainBroken', `the chain was begun without the ${name} key that is asked of it now`);
    const key = await openKey(wrapped);
    opened.push(key);
    return key.bytes;
  };
  const destroy = (): void => {
    for (const key of opened) key.destroy();
  };
  try {
    const engine = wanted.engine === undefined ? undefined : await open('engine');
    const fault = engine && wanted.engine && keyFault(wanted.engine, engine);
    if (fault) throw new RedoubtError(fault.code, `the engine's key: ${fault.detail}`);
    const passphrase = wanted.transition ? (await open('transition')).toString('base64url') : undefined;
    const odd = passphrase === undefined ? undefined : transitionKeyFault(passphrase);
    if (odd !== undefined) throw new RedoubtError(odd.code, odd.detail);
    return { engine, passphrase, destroy };
  } catch (error) {
    destroy();
    throw error;
  }
};

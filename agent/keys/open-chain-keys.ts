import { RedoubtError } from '#core/errors.ts';
import { type KeyAlgorithm, keyFault, transitionKeyFault } from '#core/key-shape.ts';
import type { ChainKeys } from '#core/wrapped-key.ts';
import type { OpenKey } from './open-data-key.ts';

export interface WantedKeys {
  /** Of the engine's own encryption; absent where it does not encrypt. */
  readonly engine: KeyAlgorithm | undefined;
  readonly transition: boolean;
}

/** The keys of a chain, open, in memory only. */
export interface OpenChainKeys {
  readonly data: Buffer;
  readonly engine: Buffer | undefined;
  /** What `--transition-key` is given. */
  readonly passphrase: string | undefined;
  /** Overwrites them. */
  destroy(): void;
}

/**
 * Opens what a run needs of its chain's keys, and no more. Throws what KMS says; `KeyInvalid` before an engine sees a key of the wrong form;
 * `ChainBroken` where the chain was begun without a key that is asked of it now: a new full makes one.
 */
export const openChainKeys = async (keys: ChainKeys, wanted: WantedKeys, openKey: OpenKey): Promise<OpenChainKeys> => {
  const opened: { destroy(): void }[] = [];
  const open = async (name: 'data' | 'engine' | 'transition'): Promise<Buffer> => {
    const wrapped = keys[name];
    if (wrapped === undefined)
      throw new RedoubtError(
        'ChainBroken',
        `the chain was begun without the ${name} key the cluster file asks for now`,
      );
    const key = await openKey(wrapped);
    opened.push(key);
    return key.bytes;
  };
  const destroy = (): void => {
    for (const key of opened) key.destroy();
  };
  try {
    const data = await open('data');
    const engine = wanted.engine === undefined ? undefined : await open('engine');
    const fault = engine && wanted.engine && keyFault(wanted.engine, engine);
    if (fault) throw new RedoubtError(fault.code, `the engine's key: ${fault.detail}`);
    const passphrase = wanted.transition ? (await open('transition')).toString('base64url') : undefined;
    const odd = passphrase === undefined ? undefined : transitionKeyFault(passphrase);
    if (odd !== undefined) throw new RedoubtError(odd.code, odd.detail);
    return { data, engine, passphrase, destroy };
  } catch (error) {
    destroy();
    throw error;
  }
};

import { createHmac, hkdfSync, timingSafeEqual } from 'node:crypto';
import { type Manifest, manifestMacInput } from '#core/manifest.ts';

const mac = (manifest: Omit<Manifest, 'mac'>, dataKey: Buffer): Buffer => {
  const key = Buffer.from(hkdfSync('sha256', dataKey, Buffer.alloc(0), 'redoubt manifest', 32));
  try {
    return createHmac('sha256', key).update(manifestMacInput(manifest)).digest();
  } finally {
    key.fill(0);
  }
};

/** The manifest with the MAC that core/manifest.ts describes. */
export const signManifest = (manifest: Omit<Manifest, 'mac'>, dataKey: Buffer): Manifest => ({
  ...manifest,
  mac: mac(manifest, dataKey).toString('hex'),
});

/** Whether the manifest was written by somebody who held the chain's data key. */
export const manifestMacHolds = (manifest: Manifest, dataKey: Buffer): boolean =>
  timingSafeEqual(mac(manifest, dataKey), Buffer.from(manifest.mac, 'hex'));

import { RedoubtError } from '#core/errors.ts';
import type { KeyringKind } from '#core/tablespace-encryption.ts';
import type { ServerFacts } from '../server/server-facts.ts';
import { compareVersions } from './compare-versions.ts';
import type { EngineKeyring, EngineVersion } from './engine.ts';
import { type KeyringOptions, seriesOf } from './xtrabackup-series.ts';

/** How this version is told of a keyring of that kind. Throws `EncryptionUnsupported` where it cannot be. */
export const keyringOptions = (version: EngineVersion, kind: KeyringKind): KeyringOptions => {
  const known = seriesOf(version.series).keyrings[kind];
  if (known === undefined)
    throw new RedoubtError('EncryptionUnsupported', `XtraBackup ${version.version} knows no ${kind}`);
  return known;
};

/** `--xtrabackup-plugin-dir`, where the plugins do not lie where the tool was built for. */
export const pluginDirectory = (version: EngineVersion, keyring: EngineKeyring): readonly string[] =>
  keyring.pluginDirectory === undefined ||
  compareVersions(version.version, seriesOf(version.series).transitionSince) < 0
    ? []
    : [`--xtrabackup-plugin-dir=${keyring.pluginDirectory}`];

export const keyringAtBackup = (
  version: EngineVersion,
  facts: ServerFacts,
  keyring: EngineKeyring,
): readonly string[] => {
  const { atBackup } = keyringOptions(version, keyring.kind);
  const { uuidInKeyNamesSince } = seriesOf(version.series);
  const namesHoldId = uuidInKeyNamesSince !== undefined && compareVersions(facts.version, uuidInKeyNamesSince) < 0;
  return [
    ...(atBackup === undefined ? [] : [`${atBackup}=${keyring.path}`]),
    ...(namesHoldId ? [`--server-id=${facts.variables.server_id}`] : []),
    ...(keyring.transition === 'generated' ? ['--generate-transition-key'] : []),
    ...pluginDirectory(version, keyring),
  ];
};

export const keyringAtPrepare = (version: EngineVersion, keyring: EngineKeyring): readonly string[] => [
  `${keyringOptions(version, keyring.kind).atPrepare}=${keyring.path}`,
  ...pluginDirectory(version, keyring),
];

import type { EngineKeyring, PrepareRequest } from './engine.ts';

/** What a backup's own options say of its encryption plugin: the plugin, its settings, and which of InnoDB's files it encrypted. */
const PLUGIN_LINE = /^\s*(plugin[-_](load|dir)|file[-_]key[-_]management|innodb[-_]encrypt)/;

const setting = (name: string): RegExp => new RegExp(`^\\s*${name.replaceAll('_', '[-_]')}\\s*=`);

const KEY_FILE = setting('file_key_management_filename');
const KEY_FILE_KEY = setting('file_key_management_filekey');

/** The directory the plugin is loaded from, in these options. */
export const pluginDirectoryIn = (options: string): string | undefined =>
  /^\s*plugin[-_]dir\s*=\s*"?([^"\n]+?)"?\s*$/m.exec(options)?.[1];

const without = (lines: readonly string[], pattern: RegExp): readonly string[] =>
  lines.filter((line) => !pattern.test(line));

/**
 * The options mariadb-backup is to prepare with: what the base says of InnoDB, what the backup that is applied says of the plugin, and that
 * backup's own key file, instead of the one on the host where it was taken.
 */
export const keyManagementOptions = (keyring: NonNullable<PrepareRequest['keyring']>): string => {
  const plugin = keyring.stepOptions.split('\n').filter((line) => PLUGIN_LINE.test(line));
  const settings = [KEY_FILE, KEY_FILE_KEY, ...(keyring.pluginDirectory === undefined ? [] : [setting('plugin_dir')])];
  return [
    ...without(keyring.baseOptions.trimEnd().split('\n'), PLUGIN_LINE),
    ...settings.reduce(without, plugin),
    ...keyFileSettings(keyring),
    '',
  ].join('\n');
};

const keyFileSettings = ({ path, keyFileKey, pluginDirectory }: EngineKeyring): readonly string[] => [
  ...(pluginDirectory === undefined ? [] : [`plugin_dir="${pluginDirectory}"`]),
  `file_key_management_filename=${path}`,
  ...(keyFileKey === undefined ? [] : [`file_key_management_filekey=FILE:${keyFileKey}`]),
];

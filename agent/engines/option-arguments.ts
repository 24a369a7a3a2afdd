import { type EngineOptionName, type EngineOptions, optionNames, optionOf } from '#core/engine-options.ts';
import { RedoubtError } from '#core/errors.ts';
import { compareBuilds } from './compare-versions.ts';
import type { EngineVersion } from './engine.ts';

/** How an engine knows an option. */
export interface OptionSupport {
  /** The first version that has it; absent: every one of the series. */
  readonly since?: string;
  /** Any of these on `*.*` is needed with it. */
  readonly privileges?: readonly string[];
}
export type SupportedOptions = Readonly<Partial<Record<EngineOptionName, OptionSupport>>>;

const unsupported = (name: EngineOptionName, why: string): RedoubtError =>
  new RedoubtError('OptionUnsupported', `engineOptions.${name}: ${why}`);

/** Of a switch that is on unless it is told otherwise. */
const ON_BY_DEFAULT: readonly EngineOptionName[] = ['lockDdl'];

/**
 * The options as arguments. Throws `OptionUnsupported` for one that this version does not know: 2.4 ignores those without a word (recorded: 73c), and
 * 8.x says so only when it has connected.
 */
export const optionArguments = (
  program: string,
  version: EngineVersion,
  supported: SupportedOptions,
  options: EngineOptions,
): readonly string[] =>
  optionNames(options).flatMap((name) => {
    const support = supported[name];
    const option = optionOf(name);
    const value = options[name];
    if (support === undefined) throw unsupported(name, `${program} ${version.version} has no ${option}; leave it out`);
    if (support.since !== undefined && compareBuilds(version.version, support.since) < 0)
      throw unsupported(name, `${option} needs ${program} ${support.since} or newer; this is ${version.version}`);
    if (ON_BY_DEFAULT.includes(name)) return [`${option}=${value ? 'ON' : 'OFF'}`];
    if (typeof value === 'boolean') return value ? [option] : [];
    return [`${option}=${value}`];
  });

/**
 * An absolute path without `..`, of characters that mean nothing to a shell: core/absolute-path.ts as one regular expression
 * without lookahead, which the SSM agent's own expressions do not have.
 */
export const AGENT_DIRECTORY_PATTERN = '^(/\\.?[A-Za-z0-9_@:+-][A-Za-z0-9._@:+-]*)+/?$';

/** Marks the end of an exhaustive choice: a new variant fails to compile here. */
export const assertNever = (value: never): never => {
  throw new TypeError(`not a known variant: ${JSON.stringify(value)}`);
};

/** Time, so that a test can say what it is. */
export interface Clock {
  now(): Date;
  /** Resolves after `milliseconds`. */
  pause(milliseconds: number): Promise<void>;
}

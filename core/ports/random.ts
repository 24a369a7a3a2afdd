/** Randomness, so that a test can say what it is. */
export interface Random {
  /** Lower-case hex of `bytes` unpredictable bytes. */
  hex(bytes: number): string;
}

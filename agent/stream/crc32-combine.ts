/** x^n mod the reflected CRC-32 polynomial, and products of such residues: what lets CRCs of neighbouring pieces be joined. */
const POLYNOMIAL = 0xedb88320;

const multiply = (a: number, b: number): number => {
  let product = 0;
  let factor = b;
  for (let bit = 0x80000000; bit !== 0; bit >>>= 1) {
    if ((a & bit) !== 0) product ^= factor;
    factor = (factor & 1) !== 0 ? (factor >>> 1) ^ POLYNOMIAL : factor >>> 1;
  }
  return product >>> 0;
};

/** `SQUARES[k]` is x^(2^k). */
const SQUARES: readonly number[] = (() => {
  const squares = [0x40000000];
  for (let k = 1; k < 64; k++) squares.push(multiply(squares[k - 1] as number, squares[k - 1] as number));
  return squares;
})();

/** x^(8 · bytes): what a CRC register is multiplied by when `bytes` zero bytes pass through it. */
const shift = (bytes: number): number => {
  let power = 0x80000000;
  // Eight bits a byte: start at x^(2^3). Division, because sizes of files do not fit 32-bit shifts.
  for (let k = 3, rest = bytes; rest > 0; k++, rest = Math.floor(rest / 2)) {
    if (rest % 2 === 1) power = multiply(SQUARES[k] as number, power);
  }
  return power;
};

/** The CRC-32 of A followed by B, from the CRC-32 of each and the length of B: zlib's `crc32_combine`. */
export const crc32Combine = (crcOfA: number, crcOfB: number, bytesOfB: number): number =>
  (multiply(shift(bytesOfB), crcOfA) ^ crcOfB) >>> 0;

/** The CRC-32 of A followed by `bytes` zero bytes, without reading a zero. */
export const crc32AppendZeros = (crcOfA: number, bytes: number): number => ~multiply(shift(bytes), ~crcOfA >>> 0) >>> 0;

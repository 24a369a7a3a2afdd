/** A secret of a test, and the name it is reported under. */
export interface Secret {
  readonly name: string;
  readonly bytes: Buffer;
}

/** One form of a secret, as it would lie in a file or a command line. */
export interface Needle {
  readonly name: string;
  readonly bytes: Buffer;
}

/** The part of a base64 text that stands for `bytes` whatever stands before and behind it, at each of the three places it may begin. */
const base64Forms = (bytes: Buffer): readonly string[] =>
  [0, 1, 2].map((shift) => {
    const text = Buffer.concat([Buffer.alloc(shift), bytes])
      .toString('base64')
      .replaceAll('=', '');
    const from = Math.ceil((shift * 8) / 6);
    const to = Math.floor(((shift + bytes.length) * 8) / 6);
    return text.slice(from, to);
  });

/** Raw, hex in either case, base64 in either alphabet. */
export const needlesOf = (secrets: readonly Secret[]): readonly Needle[] =>
  secrets.flatMap(({ name, bytes }) => {
    const hex = bytes.toString('hex');
    const base64 = base64Forms(bytes);
    const texts = [
      hex,
      hex.toUpperCase(),
      ...base64,
      ...base64.map((text) => text.replaceAll('+', '-').replaceAll('/', '_')),
    ];
    return [
      { name: `${name}, raw`, bytes },
      ...[...new Set(texts)].map((text) => ({ name: `${name}, as ${text.slice(0, 3)}…`, bytes: Buffer.from(text) })),
    ];
  });

/** Which needles are in `content`. */
export const foundIn = (content: Buffer, needles: readonly Needle[]): readonly string[] =>
  needles.filter(({ bytes }) => content.includes(bytes)).map(({ name }) => name);

import { foundIn, needlesOf, type Secret } from './needles.ts';

/** Something that is searched besides files. */
export interface Place {
  readonly name: string;
  readonly content: Buffer;
}

/** Which secrets are in which place. */
export const inPlaces = (places: readonly Place[], secrets: readonly Secret[]): readonly string[] => {
  const needles = needlesOf(secrets);
  return places.flatMap(({ name, content }) => foundIn(content, needles).map((secret) => `${name}: ${secret}`));
};

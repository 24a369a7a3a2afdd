/** How many single-letter changes make one word of another. */
const distance = (from: string, to: string): number => {
  let previous = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (let row = 1; row <= from.length; row += 1) {
    const current = [row];
    for (let column = 1; column <= to.length; column += 1) {
      const substituted = (previous[column - 1] ?? 0) + (from[row - 1] === to[column - 1] ? 0 : 1);
      current.push(Math.min(substituted, (previous[column] ?? 0) + 1, (current[column - 1] ?? 0) + 1));
    }
    previous = current;
  }
  return previous[to.length] ?? 0;
};

/** More changes than this part of a word, and another one was meant. */
const FARTHEST = 0.4;

/** Fewer letters are no beginning of anything in particular. */
const SHORTEST_BEGINNING = 3;

/** The word that was probably meant, if one is near enough or begins like this. Case and separators do not count. */
export const nearestWord = (word: string, words: readonly string[]): string | undefined => {
  const plain = (text: string) => text.toLowerCase().replaceAll(/[-_ ]/g, '');
  const written = plain(word);
  const [best] = words
    .map((candidate) => {
      const meant = plain(candidate);
      const isBeginning = written.length >= SHORTEST_BEGINNING && meant.startsWith(written);
      return {
        candidate,
        changes: isBeginning ? 0 : distance(written, meant),
        limit: Math.ceil(meant.length * FARTHEST),
      };
    })
    .sort((a, b) => a.changes - b.changes);
  return best && best.changes <= best.limit && best.changes < written.length ? best.candidate : undefined;
};

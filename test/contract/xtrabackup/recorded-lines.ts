import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { lineShape } from './line-shape.ts';

/** Shapes of every line in the recorded runs of 2.4.7. */
const RECORDED: ReadonlySet<string> = new Set(
  readFileSync(join(import.meta.dirname, '../../fixtures/xtrabackup-2.4.7-lines/line-shapes.txt'), 'utf8').split('\n'),
);

/** Lines the reference names and no recording has. */
const REFERENCED: readonly RegExp[] = [
  /^error while attempting to find history record for (name|uuid) /,
  /^Waiting for query \d+ \(duration \d+ sec\)/,
  /^Unable to obtain lock\. Please try again later\./,
  /^Moving \S+ to /,
];

const TIME = /^\.?\d{6} \d\d:\d\d:\d\d (\[\d\d\] )?/;

/** What a stand-in of 2.4.7 said and the real one never did. */
export const unrecordedLines = (log: string): readonly string[] =>
  log
    .split('\n')
    .filter((line) => line.trim() !== '')
    .filter((line) => !RECORDED.has(lineShape(line)))
    .filter((line) => !REFERENCED.some((pattern) => pattern.test(line.replace(TIME, ''))));

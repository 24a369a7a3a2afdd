import { type Figure, isGoalMet, type RatioFigure, type Results } from './figure.ts';
import { megabytes } from './format.ts';

const WIDTH = 860;
const LEFT = 24;
const ROW = 62;
const TOP = 74;
/** Where a ratio of 0 and the largest one lie. */
const SCALE = { from: 24, to: 700 } as const;

const STYLE = `text { font: 13px system-ui, sans-serif; fill: #1f2328 } .small { font-size: 11px; fill: #59636e } .head { font-size: 16px; font-weight: 600 }
.met { fill: #2f7d4f } .missed { fill: #b35900 } .goal { stroke: #59636e; stroke-dasharray: 3 3 } .spread { stroke: #1f2328; stroke-width: 1.5 } .back { fill: #fff }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .small { fill: #9198a1 } .spread { stroke: #e6edf3 } .goal { stroke: #9198a1 } .back { fill: #0d1117 } .met { fill: #3fb068 } .missed { fill: #e0872f } }`;

const escapeXml = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');

const text = (x: number, y: number, words: string, style = ''): string =>
  `<text x="${x}" y="${y}"${style && ` class="${style}"`}>${escapeXml(words)}</text>`;

const line = (x1: number, y1: number, x2: number, y2: number, style: string): string =>
  `<line x1="${x1}" y1="${y1}" x2="${x2}" y2="${y2}" class="${style}"/>`;

const ratioRow = (figure: RatioFigure, top: number, at: (ratio: number) => number): readonly string[] => {
  const { ratio, goal } = figure;
  const middle = top + 26;
  return [
    text(LEFT, top + 10, figure.title),
    `<rect x="${SCALE.from}" y="${middle - 8}" width="${at(ratio.median) - SCALE.from}" height="16" rx="2" class="${isGoalMet(figure) ? 'met' : 'missed'}"/>`,
    line(at(ratio.lowest), middle, at(ratio.highest), middle, 'spread'),
    ...[ratio.lowest, ratio.highest].map((end) => line(at(end), middle - 4, at(end), middle + 4, 'spread')),
    line(at(goal), middle - 12, at(goal), middle + 12, 'goal'),
    text(Math.max(at(ratio.highest), at(goal)) + 10, middle + 5, `${ratio.median.toFixed(2)}×`),
    text(LEFT, middle + 23, `against ${figure.theirs.what}; goal ${goal.toFixed(1)}×`, 'small'),
  ];
};

const words = (figure: Exclude<Figure, RatioFigure>): readonly [string, string] => {
  switch (figure.kind) {
    case 'memory': {
      const { small, large, goalBytes } = figure;
      return [
        `${megabytes(large.peakBytes)} at most for ${megabytes(large.streamBytes)}, ${megabytes(small.peakBytes)} for ${megabytes(small.streamBytes)}`,
        `goal ${megabytes(goalBytes)}`,
      ];
    }
    case 'control-plane':
      return [
        figure.backups.map(({ what, dollars }) => `${what} $${dollars.toFixed(4)}`).join(' · '),
        figure.backups
          .map(
            ({ usage }) => `${usage.stateTransitions} state transitions, ${usage.lambdaInvocations} Lambda invocations`,
          )
          .join(' · '),
      ];
  }
};

const otherRow = (figure: Exclude<Figure, RatioFigure>, top: number): readonly string[] => {
  const [large, small] = words(figure);
  return [text(LEFT, top + 10, figure.title), text(LEFT, top + 30, large), text(LEFT, top + 47, small, 'small')];
};

/** Bars of the ratios with the spread of their rounds; a dashed line is the goal. */
export const drawChart = ({ machine, measured }: Results): string => {
  const figures = measured.map(({ figure }) => figure);
  const most = Math.max(
    1.2,
    ...figures.flatMap((figure) => (figure.kind === 'ratio' ? [figure.ratio.highest, figure.goal] : [])),
  );
  const at = (ratio: number): number => Math.round(SCALE.from + (ratio / most) * (SCALE.to - SCALE.from));
  const rows = figures.flatMap((figure, index) => {
    const top = TOP + index * (ROW + 14);
    return figure.kind === 'ratio' ? ratioRow(figure, top, at) : otherRow(figure, top);
  });
  const height = TOP + figures.length * (ROW + 14) + 8;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="Speed of the agent against pipes written by hand">`,
    `<style>${STYLE}</style>`,
    `<rect width="${WIDTH}" height="${height}" class="back"/>`,
    text(LEFT, 30, 'Speed against what is written by hand: 2× is half the time', 'head'),
    text(
      LEFT,
      50,
      `${machine.cores} cores (${machine.cpu}), ${megabytes(machine.memoryBytes)} of memory; a noisy machine: each ratio is the median of rounds taken in turn, the thin line their spread`,
      'small',
    ),
    ...rows,
    '</svg>',
    '',
  ].join('\n');
};

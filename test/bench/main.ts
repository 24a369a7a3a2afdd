import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { drawChart } from './draw-chart.ts';
import type { Figure, Measured, Results } from './figure.ts';
import { measureBarePipe, measureUpload } from './measure-backup.ts';
import { measureControlPlane } from './measure-control-plane.ts';
import { measureMemory } from './measure-memory.ts';
import { measureRestore } from './measure-restore.ts';
import { renderTable } from './render-table.ts';
import { Workbench } from './workbench.ts';

const FIGURES = {
  'bare-pipe': (bench) => measureBarePipe(bench, 'nowhere'),
  'bare-pipe-http': (bench) => measureBarePipe(bench, 'bucket'),
  upload: measureUpload,
  restore: measureRestore,
  memory: measureMemory,
  'control-plane': measureControlPlane,
} satisfies Readonly<Record<string, (bench: Workbench) => Promise<Figure>>>;

const USAGE = `npm run bench -- [FIGURE…] [--rounds 5] [--scale 1] [--memory-bytes N] [--json] [--write]

  ${Object.keys(FIGURES).join(' · ')}; all without a name.
  --scale 1 is a server of about 1 GB. --memory-bytes is the length of the synthetic stream: 500 GB where "memory"
  is asked for by name, 20 GB in a whole run. --write puts results.json and chart.svg into docs/bench.
`;

const directory = join(import.meta.dirname, '..', '..', 'docs', 'bench');

/** A figure that was not measured again stays as it was. */
const writeResults = (results: Results): void => {
  const file = join(directory, 'results.json');
  const before = existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Results).measured : [];
  const all = new Map([...before, ...results.measured].map((it) => [it.figure.name, it]));
  const measured = Object.keys(FIGURES).flatMap((name) => all.get(name) ?? []);
  mkdirSync(directory, { recursive: true });
  writeFileSync(file, `${JSON.stringify({ ...results, measured }, undefined, 2)}\n`);
  writeFileSync(join(directory, 'chart.svg'), drawChart({ ...results, measured }));
};

const main = async (): Promise<void> => {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      rounds: { type: 'string', default: '5' },
      scale: { type: 'string', default: '1' },
      'memory-bytes': { type: 'string' },
      json: { type: 'boolean' },
      write: { type: 'boolean' },
      help: { type: 'boolean' },
    },
  });
  if (values.help) {
    process.stdout.write(USAGE);
    return;
  }
  const isName = (name: string): name is keyof typeof FIGURES => Object.hasOwn(FIGURES, name);
  const unknown = positionals.find((name) => !isName(name));
  if (unknown !== undefined) throw new Error(`there is no figure ${unknown}\n\n${USAGE}`);
  const names = positionals.length === 0 ? Object.keys(FIGURES) : positionals;

  const machine = {
    cpu: cpus()[0]?.model ?? '',
    cores: cpus().length,
    memoryBytes: totalmem(),
    node: process.version,
  };
  const measured: Measured[] = [];
  {
    let doing = '';
    await using bench = new Workbench({
      rounds: Number(values.rounds),
      scale: Number(values.scale),
      memoryBytes: Number(values['memory-bytes'] ?? (positionals.includes('memory') ? 500e9 : 20e9)),
      say: (line) => process.stderr.write(`${doing}: ${line}\n`),
    });
    for (const name of names.filter(isName)) {
      doing = name;
      measured.push({ figure: await FIGURES[name](bench), measuredAt: new Date().toISOString() });
      // One after the other: a later one may fail.
      if (values.write) writeResults({ machine, measured });
    }
  }
  const results: Results = { machine, measured };
  process.stdout.write(values.json ? `${JSON.stringify(results, undefined, 2)}\n` : renderTable(results));
};

await main();

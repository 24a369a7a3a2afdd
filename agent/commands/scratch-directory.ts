import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { processStart } from '../control/process-start.ts';

const NAME = /^redoubt-scratch-(\d+)-(\d+)-/;

/** `TMPDIR` where it is set. Not /tmp otherwise: often in memory, and engines keep redo there until the end of the stream. */
const place = (): string => (process.env.TMPDIR === undefined ? '/var/tmp' : tmpdir());

/** A 0700 directory for what an engine wants on disk, gone when disposed of; those of dead agents are swept first. */
export class ScratchDirectory implements Disposable {
  readonly path: string;

  constructor(parent: string = place()) {
    for (const entry of readdirSync(parent)) {
      const match = NAME.exec(entry);
      if (match !== null && processStart(Number(match[1])) !== match[2])
        rmSync(join(parent, entry), { recursive: true, force: true });
    }
    this.path = mkdtempSync(join(parent, `redoubt-scratch-${process.pid}-${processStart(process.pid)}-`));
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Repository } from '#agent/repository/repository.ts';
import { RedoubtError } from '#core/errors.ts';
import type { StoredObject } from '#core/manifest.ts';

export interface DownloadLimits {
  /** Bytes of one ranged request. */
  readonly partBytes: number;
  /** Requests at a time; with `partBytes` it bounds the memory. */
  readonly inFlight: number;
}

export const DOWNLOAD_LIMITS: DownloadLimits = { partBytes: 8 * 1024 * 1024, inFlight: 4 };

/** A connection that breaks within a body is nothing the SDK retries. */
const TRIES = 4;

const tampered = (object: StoredObject, why: string): RedoubtError =>
  new RedoubtError('ObjectTampered', `${object.key} ${why}`);

const readRange = async (
  repository: Repository,
  object: StoredObject,
  from: number,
  to: number,
  signal: AbortSignal,
): Promise<Buffer> => {
  const wanted = to - from + 1;
  for (let attempt = 1; ; attempt++) {
    signal.throwIfAborted();
    try {
      const body = await repository.get(object.key, { version: object.version, range: { from, to } });
      const pieces: Buffer[] = [];
      let bytes = 0;
      for await (const piece of body) {
        bytes += (piece as Buffer).length;
        if (bytes > wanted) throw tampered(object, 'answers a range with more bytes than were asked for');
        pieces.push(piece as Buffer);
      }
      if (bytes < wanted) throw tampered(object, `ends after ${from + bytes} bytes, not ${object.bytes}`);
      return pieces.length === 1 ? (pieces[0] as Buffer) : Buffer.concat(pieces, bytes);
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof RedoubtError) || !error.retryable || attempt === TRIES) throw error;
      await sleep(500 * 2 ** attempt, undefined, { signal });
    }
  }
};

/**
 * The bytes of `objects`, one object after the other, fetched in parallel ranges ahead of the reader: never more than
 * `limits.inFlight` ranges are held. Each object's generator ends normally only if size and SHA-256 are those of the manifest; throws
 * `ObjectTampered`, `ObjectMissing` or what else the repository says. Read each object to its end before asking for the next.
 */
export async function* download(
  repository: Repository,
  objects: readonly StoredObject[],
  signal: AbortSignal,
  limits: DownloadLimits = DOWNLOAD_LIMITS,
): AsyncGenerator<{ readonly object: StoredObject; readonly content: AsyncGenerator<Buffer, void, undefined> }> {
  const stop = new AbortController();
  const either = AbortSignal.any([signal, stop.signal]);
  const ranges = rangesOfAll(objects, limits.partBytes);
  const running: Promise<Buffer>[] = [];
  const startNext = (): void => {
    const next = ranges.next();
    if (next.done) return;
    const { object, from, to } = next.value;
    const part = readRange(repository, object, from, to, either);
    // Awaited in its turn; until then a failure must not count as unhandled.
    part.catch(() => undefined);
    running.push(part);
  };
  for (let count = 0; count < limits.inFlight; count++) startNext();

  async function* contentOf(object: StoredObject): AsyncGenerator<Buffer, void, undefined> {
    const digest = createHash('sha256');
    for (const _ of rangesOf(object, limits.partBytes)) {
      const part = (await running.shift()) as Buffer;
      startNext();
      digest.update(part);
      yield part;
    }
    if (digest.digest('hex') !== object.sha256) throw tampered(object, 'has another SHA-256 than its manifest says');
  }

  try {
    for (const object of objects) yield { object, content: contentOf(object) };
  } finally {
    stop.abort(new RedoubtError('RunCancelled', 'the download is no longer wanted'));
  }
}

function* rangesOf(
  object: StoredObject,
  partBytes: number,
): Generator<{ readonly object: StoredObject; readonly from: number; readonly to: number }> {
  for (let from = 0; from < object.bytes; from += partBytes)
    yield { object, from, to: Math.min(from + partBytes, object.bytes) - 1 };
}

function* rangesOfAll(objects: readonly StoredObject[], partBytes: number): ReturnType<typeof rangesOf> {
  for (const object of objects) yield* rangesOf(object, partBytes);
}

/** A small object of the manifest (inventory), whole and verified. */
export const downloadWhole = async (
  repository: Repository,
  object: StoredObject,
  signal: AbortSignal,
): Promise<Buffer> => {
  const pieces: Buffer[] = [];
  for await (const { content } of download(repository, [object], signal)) {
    for await (const piece of content) pieces.push(piece);
  }
  return Buffer.concat(pieces);
};

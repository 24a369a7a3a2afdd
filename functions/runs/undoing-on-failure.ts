import { asRedoubtError } from '#core/errors.ts';
import type { Log } from '#core/ports/log.ts';

/** What was taken and has to be given back if what follows fails: each compensation is registered right after its step. */
export interface UndoStack {
  add(undo: () => Promise<unknown>): void;
}

/**
 * Runs `act`. If it throws, what it registered is undone, last first, and its error is thrown on: a compensation that fails is
 * logged and never hides the first error.
 */
export const undoingOnFailure = async <Result>(
  log: Log,
  act: (undo: UndoStack) => Promise<Result>,
): Promise<Result> => {
  const undos: (() => Promise<unknown>)[] = [];
  try {
    return await act({ add: (undo) => undos.push(undo) });
  } catch (error) {
    for (const undo of undos.reverse()) {
      try {
        await undo();
      } catch (failure) {
        const { code, detail } = asRedoubtError(failure);
        log.error('undo-failed', { error: code, detail });
      }
    }
    throw error;
  }
};

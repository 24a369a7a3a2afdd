import { describe, expect, it } from 'vitest';
import {
  asRedoubtError,
  errorCodeOfExit,
  errorCodes,
  errorKind,
  fallbackErrors,
  isErrorCode,
  RedoubtError,
} from '#core/errors.ts';

describe('the errors', () => {
  it('have an exit code each, of their own, and find their way back from it', () => {
    expect(new Set(errorCodes.map((code) => errorKind(code).exit)).size).toBe(errorCodes.length);
    for (const code of errorCodes) expect(errorCodeOfExit(errorKind(code).exit)).toBe(code);
  });

  it('leave the exit codes of Node, of the shell and of signals alone', () => {
    for (const code of errorCodes) {
      const { exit } = errorKind(code);
      expect(exit === 199 || (exit >= 10 && exit <= 125)).toBe(true);
    }
    for (const exit of [0, 1, 2, 9, 126, 127, 128, 130, 137, 143, 255]) expect(errorCodeOfExit(exit)).toBeUndefined();
  });

  it('tell an operator what to do, in a sentence', () => {
    for (const code of errorCodes) expect(errorKind(code).hint).toMatch(/^[A-Z`].{15,}[.?]$/s);
  });

  it('fall back to a full only where a full can help', () => {
    expect([...fallbackErrors].sort()).toEqual(['ChainBroken', 'KeyringChanged', 'ServerChanged']);
  });

  it('carry their code as their name: that is what a state machine catches', () => {
    const error = new RedoubtError('LeaseLost', 'run-2 has it');
    expect([error.name, error.message, error.retryable]).toEqual(['LeaseLost', 'run-2 has it', true]);
  });

  it('are themselves, and everything else is Unexpected with its cause', () => {
    const ours = new RedoubtError('LeaseLost', 'x');
    expect(asRedoubtError(ours)).toBe(ours);
    const cause = new TypeError('oops');
    expect(asRedoubtError(cause)).toMatchObject({ code: 'Unexpected', detail: 'TypeError: oops', cause });
    expect(asRedoubtError('oops')).toMatchObject({ code: 'Unexpected', detail: 'oops' });
  });

  it.each(['toString', 'constructor', '__proto__', '', 'leaseLost'])('are not %j', (name) => {
    expect(isErrorCode(name)).toBe(false);
  });
});

import { RedoubtError } from '#core/errors.ts';

/**
 * What is thrown where `service` did not do what it was asked. Only the name of the SDK's error goes into the detail: its
 * message may repeat what was sent.
 */
export const serviceFailure = (service: string, error: unknown): RedoubtError =>
  error instanceof RedoubtError
    ? error
    : new RedoubtError(
        'ServiceUnavailable',
        `${service} answered ${error instanceof Error ? error.name : String(error)}`,
        {
          cause: error,
        },
      );

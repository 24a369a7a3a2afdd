import type { Logger } from '@aws-lambda-powertools/logger';
import type { Log } from '#core/ports/log.ts';

/** Log lines as JSON; their `message` is the code, so that a metric filter or a search needs one field. */
export const powertoolsLog = (logger: Logger): Log => ({
  info: (code, fields) => logger.info(code, { ...fields }),
  warn: (code, fields) => logger.warn(code, { ...fields }),
  error: (code, fields) => logger.error(code, { ...fields }),
});

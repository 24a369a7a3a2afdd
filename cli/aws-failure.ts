import { RedoubtError } from '#core/errors.ts';

const denied = new Set([
  'AccessDenied',
  'AccessDeniedException',
  'CredentialsProviderError',
  'ExpiredToken',
  'ExpiredTokenException',
  'InvalidClientTokenId',
  'InvalidSignatureException',
  'TokenProviderError',
  'UnauthorizedOperation',
  'UnrecognizedClientException',
]);
const unreachable = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EAI_AGAIN',
  'ENOTFOUND',
  'EHOSTUNREACH',
  'ETIMEDOUT',
  'TimeoutError',
]);

const throttled = new Set(['ThrottlingException', 'Throttling', 'TooManyRequestsException', 'RequestLimitExceeded']);

const isBusy = (error: Error): boolean => {
  const status =
    (error as { readonly $metadata?: { readonly httpStatusCode?: number } }).$metadata?.httpStatusCode ?? 0;
  return throttled.has(error.name) || status === 429 || status >= 500;
};

/** What AWS or the way to it refused while `doing`, by our names. */
export const awsFailure = (error: unknown, doing: string): RedoubtError => {
  if (!(error instanceof Error)) return new RedoubtError('Unexpected', `${doing}: ${String(error)}`);
  const systemCode = 'code' in error && typeof error.code === 'string' ? error.code : '';
  const detail = `${doing}: ${error.message || systemCode || error.name}`;
  const options = { cause: error };
  if (denied.has(error.name)) return new RedoubtError('AccessDenied', detail, options);
  if (error.message === 'Region is missing')
    return new RedoubtError('ControlPlaneMissing', 'no region is set', options);
  if (unreachable.has(systemCode) || unreachable.has(error.name))
    return new RedoubtError('ControlPlaneUnreachable', detail, options);
  if (isBusy(error)) return new RedoubtError('ServiceUnavailable', detail, options);
  return new RedoubtError('Unexpected', `${doing}: ${error.name}: ${error.message}`, options);
};

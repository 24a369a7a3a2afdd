import { Duration } from 'aws-cdk-lib';
import type { RetryProps } from 'aws-cdk-lib/aws-stepfunctions';
import type { ErrorCode } from '#core/errors.ts';

/**
 * Lambda itself could not run the function, or lost its answer: 2, 4, 8, 16, 32 and 64 seconds, just over two minutes in total.
 * Source: Step Functions developer guide, "Handle transient Lambda service exceptions".
 */
export const retryLambdaFaults: RetryProps = {
  errors: [
    'Lambda.ServiceException',
    'Lambda.AWSLambdaException',
    'Lambda.SdkClientException',
    'Lambda.TooManyRequestsException',
  ],
  interval: Duration.seconds(2),
  backoffRate: 2,
  maxAttempts: 6,
};

const outages: readonly ErrorCode[] = ['CatalogUnavailable', 'RepositoryUnavailable', 'ServiceUnavailable'];

/**
 * A service the function needs did not answer, after the SDK's own retries: 5, 10, 20, 40 and 80 seconds, just over two and a half
 * minutes in total. Only for functions that may run again: never where the host was asked, whose own answer may have these names.
 */
export const retryOutages: RetryProps = {
  errors: [...outages],
  interval: Duration.seconds(5),
  backoffRate: 2,
  maxAttempts: 5,
};

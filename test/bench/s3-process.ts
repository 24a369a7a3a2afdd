import { startS3 } from '#local/cloud/s3/start-s3.ts';

/** The local S3 server in a process of its own, with the bucket `bench`. Prints its origin; ends when its standard input does. */
const s3 = await startS3({ stateDirectory: process.argv[2] as string, buckets: ['bench'] });
console.log(s3.origin);
process.stdin.resume().on('end', () => process.exit(0));

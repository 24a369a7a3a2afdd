import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream, existsSync } from 'node:fs';
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** The npm package that carries Amazon's DynamoDB Local. Only its tarball is taken: installed, it brings some 280 others. */
const source = {
  name: 'amplify-dynamodb-simulator',
  version: '2.9.30',
  sha512: 'xTeeRLvzEfqyd5lh3bH4c0kHvSHHmmhD5ZDsHFKAQ5g2Zl6JqlFdutaQhCLHzxEp6Ry1o7TB6niIoXuQAnSewQ==',
};

const cache = fileURLToPath(new URL('../../../.cache/dynamodb-local', import.meta.url));

/** Where `DynamoDBLocal.jar` and its `DynamoDBLocal_lib` are, once fetched. */
export const dynamoDbLocalDirectory = join(cache, source.version);

/** Whether it was fetched already. */
export const hasDynamoDbLocal = (): boolean => existsSync(join(dynamoDbLocalDirectory, 'DynamoDBLocal.jar'));

/**
 * Fetches DynamoDB Local into `.cache/` unless it is there, by the npm client and whatever registry it is set to, and
 * answers its directory. A tarball that is not the pinned one is refused.
 */
export const fetchDynamoDbLocal = async (): Promise<string> => {
  if (hasDynamoDbLocal()) return dynamoDbLocalDirectory;
  await mkdir(cache, { recursive: true });
  const staging = await mkdtemp(join(cache, 'new-'));
  try {
    const { stdout } = await run(
      'npm',
      ['pack', `${source.name}@${source.version}`, '--pack-destination', staging, '--silent'],
      {
        cwd: staging,
      },
    );
    const tarball = join(staging, stdout.trim().split('\n').at(-1) ?? '');
    const hash = createHash('sha512');
    await pipeline(createReadStream(tarball), hash);
    const found = hash.digest('base64');
    if (found !== source.sha512) {
      throw new Error(`${source.name}@${source.version} has the SHA-512 ${found}, not the pinned ${source.sha512}.`);
    }
    await run('tar', ['xzf', tarball, '-C', staging, 'package/emulator']);
    await mkdir(dirname(dynamoDbLocalDirectory), { recursive: true });
    // Whoever fetched at the same time may have been quicker: theirs is as good.
    await rename(join(staging, 'package/emulator'), dynamoDbLocalDirectory).catch((error) => {
      if (!hasDynamoDbLocal()) throw error;
    });
    return dynamoDbLocalDirectory;
  } finally {
    await rm(staging, { recursive: true, force: true });
  }
};

import { inMemoryBucket } from '../doubles/in-memory-bucket.ts';
import { repositoryContract } from './repository-contract.ts';

repositoryContract('in memory', async () => {
  const repository = inMemoryBucket();
  return {
    repository,
    startUpload: async (key) => {
      repository.uploads.add(key);
    },
  };
});

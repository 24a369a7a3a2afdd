import { inMemoryCatalog } from '../doubles/in-memory-catalog.ts';
import { catalogContract } from './catalog-contract.ts';

catalogContract('in memory', async () => inMemoryCatalog());

import { paginateQuery, type QueryCommandInput } from '@aws-sdk/lib-dynamodb';
import { askCatalog, type CatalogTable } from './catalog-table.ts';

/** Every item a query finds, page by page. */
export const allItems = async (
  { name, client }: CatalogTable,
  query: Omit<QueryCommandInput, 'TableName'>,
): Promise<readonly Record<string, unknown>[]> => {
  const collect = async () => {
    const items: Record<string, unknown>[] = [];
    for await (const page of paginateQuery({ client }, { TableName: name, ...query }))
      items.push(...(page.Items ?? []));
    return items;
  };
  return askCatalog(collect());
};

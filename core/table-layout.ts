/** What the catalog's table and the functions that use it have to agree on. */
export const tableLayout = {
  /** Lists the runs of a cluster by their start, and the clusters by their name. */
  listIndex: { name: 'gsi1', partition: 'gsi1pk', sort: 'gsi1sk' },
  /** Epoch seconds after which DynamoDB removes an item that has it. */
  expiry: 'expires',
} as const;

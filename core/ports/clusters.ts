import type { ClusterConfig } from '../cluster-config.ts';
import type { ClusterId } from '../ids.ts';

/** The clusters as they were last applied. Every method throws `CatalogUnavailable` where the catalog does not answer. */
export interface Clusters {
  /** Reads its own writes. */
  get(cluster: ClusterId): Promise<ClusterConfig | undefined>;
  /** Replaces what was applied before. */
  put(config: ClusterConfig): Promise<void>;
  /** In the order of their names; may miss one applied a moment ago. */
  list(): Promise<readonly ClusterConfig[]>;
}

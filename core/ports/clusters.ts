import type { ClusterConfig } from '../cluster-config.ts';
import type { ClusterId } from '../ids.ts';

export interface AppliedCluster {
  readonly config: ClusterConfig;
  readonly firstAppliedAt: Date;
}

/** The clusters as they were last applied. Every method throws `CatalogUnavailable` where the catalog does not answer. */
export interface Clusters {
  /** Reads its own writes. */
  get(cluster: ClusterId): Promise<ClusterConfig | undefined>;
  /** Replaces what was applied before; when it was first applied stays. */
  put(config: ClusterConfig): Promise<void>;
  /** In the order of their names; may miss one applied a moment ago. */
  list(): Promise<readonly ClusterConfig[]>;
  /** As `list`, with when each was first applied. */
  applied(): Promise<readonly AppliedCluster[]>;
}

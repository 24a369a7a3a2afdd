/**
 * Every role of a control plane's functions carries this tag with the control plane's name; the repository lets nobody
 * else remove anything. Roles of hosts never carry it.
 */
export const CONTROL_PLANE_TAG = 'redoubt-control-plane';

/** The tag of a host's role and instance: the name of its cluster, and with it what the host may read and write. */
export const CLUSTER_TAG = 'redoubt-cluster';

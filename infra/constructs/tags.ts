/**
 * Every role of a control plane's functions carries this tag with the control plane's name; the repository lets nobody
 * else remove anything. Roles of hosts never carry it.
 */
export const CONTROL_PLANE_TAG = 'redoubt-control-plane';

/** On the roles of the functions that write manifests anew, to change the wrapped keys in them; the value is the control plane's name. */
export const KEYS_TAG = 'redoubt-keys';

/** On the role of the one function that removes versions for good, to shred wrapped keys; the value is the control plane's name. */
export const SHRED_TAG = 'redoubt-shred';

/** The tag of a host's role and instance: the name of its cluster, and with it what the host may read and write. */
export const CLUSTER_TAG = 'redoubt-cluster';

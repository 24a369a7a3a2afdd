/**
 * Who holds a lease is asked of Step Functions; this only frees a cluster of which nobody can be asked. Far beyond what a run
 * may take: two attempts of 48 hours.
 */
export const LEASE_SECONDS = 14 * 24 * 60 * 60;

/** Where the control plane's metrics are; alarms and dashboards name them from here. */
export const METRIC_NAMESPACE = 'Redoubt';

/**
 * Those of runs count them, and each is emitted once a run, when it is settled: under its cluster, and under no cluster, which is what alarms watch.
 * A run that somebody aborted is counted nowhere.
 */
export const metricNames = {
  backupSucceeded: 'BackupSucceeded',
  backupFailed: 'BackupFailed',
  /** Another run was at work. */
  backupRefused: 'BackupRefused',
  restoreSucceeded: 'RestoreSucceeded',
  restoreFailed: 'RestoreFailed',
  restoreRefused: 'RestoreRefused',
  /** Bytes a successful backup put into the repository. */
  storedBytes: 'StoredBytes',
  /** Of each cluster, in seconds: how long it has gone without a backup. */
  backupAge: 'BackupAge',
  /** Of all clusters: how many have gone without for too long. */
  staleClusters: 'StaleClusters',
} as const;

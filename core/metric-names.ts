/** Where the control plane's metrics are; alarms and dashboards name them from here. */
export const METRIC_NAMESPACE = 'Redoubt';

/** Each counts runs and carries the dimension `cluster`, and is emitted once a run, when it is settled. */
export const metricNames = {
  backupSucceeded: 'BackupSucceeded',
  backupFailed: 'BackupFailed',
  restoreSucceeded: 'RestoreSucceeded',
  restoreFailed: 'RestoreFailed',
  /** Bytes a successful backup put into the repository. */
  storedBytes: 'StoredBytes',
} as const;

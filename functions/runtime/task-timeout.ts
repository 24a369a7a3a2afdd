/** Systems Manager ends a command after 48 hours at the latest, so no run can take longer. */
export const TASK_TIMEOUT_SECONDS = 48 * 60 * 60;

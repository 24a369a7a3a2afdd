/** `2026-11-22 05:12:10`, in UTC: times of hosts, runs and chains are compared, so they are all in one zone. */
export const formatTime = (iso: string): string => new Date(iso).toISOString().slice(0, 19).replace('T', ' ');

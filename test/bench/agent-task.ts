/** What the bench has an agent do in a process of its own. Instructions and manifests in the form they have in the bucket. */
export type AgentTask =
  | { readonly kind: 'backup' | 'restore'; readonly instruction: unknown; readonly dataKey: string; readonly to: Sink }
  | { readonly kind: 'store'; readonly bytes: number; readonly files: number; readonly to: Sink };

export type Sink = 'nowhere' | 'bucket';

export interface AgentResult {
  readonly streamBytes: number;
  readonly storedBytes: number;
  /** As it lies in the repository, where a backup was taken. */
  readonly manifest?: string;
  /** Seconds by phase, as the agent answers them. */
  readonly phases: Readonly<Record<string, number>>;
  /** The most the process itself ever had resident, engines not counted. */
  readonly peakBytes: number;
  /** Resident bytes at even steps of a stream's length, where a synthetic stream was stored. */
  readonly residentBytes: readonly number[];
}

import type { Progress } from '#core/agent-protocol.ts';

export type Phase = Progress['phase'];

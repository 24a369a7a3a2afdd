/**
 * The first SSM agent that hands parameters over as environment variables; with an older one they are not set.
 * Source: Systems Manager user guide, "Troubleshooting parameter handling issues".
 */
export const SSM_AGENT_VERSION = '3.3.2746.0';

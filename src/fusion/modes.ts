/** `on`: elementwise nodes that follow each other run as one pass over memory. */
export const fusionModes = ['off', 'on'] as const;
export type FusionMode = (typeof fusionModes)[number];

export const defaultFusion: FusionMode = 'off';

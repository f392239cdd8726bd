/** A pipeline of stages on so many devices, on paper; and measured where this machine has the cores. */
export interface ScalingRow {
  /** What else is swept; empty where nothing is. */
  readonly series: string;
  /**
   * `strong`: the experiment's model, cut into as many stages as the devices hold. `weak`: a model that grows with the
   * devices, each holding as much work as the experiment's model is.
   */
  readonly mode: 'strong' | 'weak';
  readonly schedule: string;
  readonly microbatches: number;
  readonly devices: number;
  readonly stages: number;
  readonly stepSeconds: number;
  /** One device's time for the same M over devices times this time (strong), or over this time (weak). */
  readonly efficiency: number;
  readonly samplesPerSecond: number;
  readonly bubble: number;
  /** Of equal stages and free links; null where the schedule has no closed form. */
  readonly bubbleClosedForm: number | null;
  /** Share of the devices' time spent on copying messages. */
  readonly sendShare: number;
  readonly measuredSeconds: number | null;
  readonly measuredSecondsLow: number | null;
  readonly measuredSecondsHigh: number | null;
  readonly measuredBubble: number | null;
}

/** The weak pipeline with other links. */
export interface LinkRow {
  readonly series: string;
  readonly schedule: string;
  readonly microbatches: number;
  readonly devices: number;
  readonly bytesPerSecond: number;
  readonly stepSeconds: number;
  /** Over the time with free links. */
  readonly slowdown: number;
}

export interface ScalingTables {
  readonly scaling: readonly ScalingRow[];
  readonly links: readonly LinkRow[];
}

export const scalingColumns: {
  readonly [name in keyof ScalingTables]: readonly (keyof ScalingTables[name][number])[];
} = {
  scaling: [
    'series',
    'mode',
    'schedule',
    'microbatches',
    'devices',
    'stages',
    'stepSeconds',
    'efficiency',
    'samplesPerSecond',
    'bubble',
    'bubbleClosedForm',
    'sendShare',
    'measuredSeconds',
    'measuredSecondsLow',
    'measuredSecondsHigh',
    'measuredBubble',
  ],
  links: ['series', 'schedule', 'microbatches', 'devices', 'bytesPerSecond', 'stepSeconds', 'slowdown'],
};

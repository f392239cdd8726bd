/** 1 − Σ busy / (devices · step time) */
export const bubbleOf = (busySeconds: readonly number[], stepSeconds: number): number =>
  stepSeconds > 0 ? 1 - busySeconds.reduce((a, b) => a + b, 0) / (busySeconds.length * stepSeconds) : 0;

import type { MachineCosts } from '../../src/cost/machine.ts';

/** A machine of round figures. */
export const someMachine: MachineCosts = {
  identity: { processor: 'P', cores: 2, platform: 'linux x64', node: '20.0.0', partita: '0.1.0', kernels: 'k' },
  device: { flopsPerSecond: 1e9, bytesPerSecond: 1e9, secondsPerKernel: 1e-6 },
  copyBytesPerSecond: 2e9,
  secondsPerInstruction: 1e-7,
  step: { seconds: 1e-4, secondsPerDevice: 5e-5, secondsBetween: 2e-5, hostSeconds: 1e-4 },
  link: { bytesPerSecond: 4e9, secondsLatency: 5e-6, secondsSend: 2e-6 },
};

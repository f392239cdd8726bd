/** What was measured of a machine, independent of any model: the constants of its cost model. */
import { checkOptions, requireKinds } from '../core/options.ts';
import { amount, rate } from '../core/quantities.ts';
import { type Infer, integer, object, parse, string } from '../core/schema.ts';
import { type BackendName, kernelsOf } from '../lower/kernel-call.ts';
import { BRIEF_LOOK_SECONDS, type DeviceModel, type LinkModel, LOOK_SECONDS } from './analytic.ts';
import { described } from './described.ts';
import { type AnalyticCostOptions, analyticCosts, type CostModel } from './model.ts';

const positive = (doc: string) => rate({ doc });
const seconds = (doc: string) => amount({ doc });
/** Files from before it was measured say nothing of it. */
const laterSeconds = (doc: string) => amount({ default: 0, doc });

/** What the constants depend on: another processor, Node or build of the kernels is another machine. */
export const machineIdentitySchema = object({
  processor: string({ doc: 'model of the processor' }),
  cores: integer({ min: 1, doc: 'cores that this process may use' }),
  platform: string({ doc: 'operating system and architecture' }),
  node: string({ doc: 'version of Node' }),
  partita: string({ doc: 'version of Partita' }),
  kernels: string({ doc: 'SHA-256 of the kernels, its first 16 digits' }),
});

export type MachineIdentity = Infer<typeof machineIdentitySchema>;

export const machineSchema = object({
  identity: machineIdentitySchema,
  /** Of one core that runs the WebAssembly kernels. */
  device: object({
    flopsPerSecond: positive('arithmetic of large matrix products'),
    bytesPerSecond: positive('traffic of elementwise kernels out of the nearest caches'),
    secondsPerKernel: seconds('of a kernel that does nothing'),
  }),
  copyBytesPerSecond: positive('bytes copied within the memory of a device, or to and from the host'),
  secondsPerInstruction: seconds('what the device spends between two instructions'),
  /** Of a step: the host's word to the devices and their answers. */
  step: object({
    seconds: seconds('of any step beside its devices'),
    secondsPerDevice: seconds('by which each device begins later than the one before'),
    secondsBetween: laterSeconds('that a device spends between two steps of a training, which are begun ahead'),
    hostSeconds: laterSeconds('of a core that the host takes in each step of a training'),
  }),
  /** Between two devices of this process. */
  link: object({
    bytesPerSecond: positive('bytes copied from memory to memory'),
    secondsLatency: seconds('from the end of a copy until a receiver that slept goes on'),
    secondsSend: seconds('what a message costs its sender beside the copy'),
  }),
});

/** The measured constants of a machine. */
export type MachineCosts = Infer<typeof machineSchema>;

/** The link between any two of its threads: one that sleeps has to be woken, which it does not before it has looked on for a while. */
export const threadLink = ({ link, identity }: Pick<MachineCosts, 'link' | 'identity'>): LinkModel => ({
  ...link,
  wakes: true,
  secondsLook: identity.platform.startsWith('linux') ? LOOK_SECONDS : BRIEF_LOOK_SECONDS,
});

/** The host has a core of its own where devices leave it one. */
export const betweenSteps = ({ step, identity }: Pick<MachineCosts, 'step' | 'identity'>, devices: number) => ({
  secondsBetween: step.secondsBetween,
  hostSeconds: devices < identity.cores ? 0 : step.hostSeconds,
});

/** A roofline whose figures were measured; nothing of the model at hand was. */
export function measuredCosts(machine: MachineCosts, options: Pick<AnalyticCostOptions, 'link'> = {}): CostModel {
  checkOptions('measuredCosts', options, { link: true });
  const { link } = options;
  requireKinds('measuredCosts', { machine: ['record', machine] });
  parse(machineSchema, machine, 'measuredCosts');
  const device: DeviceModel = { ...machine.device, speed: 1 };
  const analytic = analyticCosts({ device, link: link ?? threadLink(machine) });
  return {
    ...analytic,
    source: 'machine',
    instructionSeconds: described(
      (backend: BackendName, copiedBytes = 0) =>
        kernelsOf(backend) !== 'reference'
          ? machine.secondsPerInstruction + copiedBytes / machine.copyBytesPerSecond
          : analytic.instructionSeconds(backend, copiedBytes),
      () => `machine ${JSON.stringify(machine)}`,
    ),
    stepSeconds: () => machine.step.seconds,
    startSeconds: (device) => device * machine.step.secondsPerDevice,
    betweenSteps: (devices) => betweenSteps(machine, devices),
  };
}

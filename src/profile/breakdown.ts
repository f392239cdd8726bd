/** Where the time of recorded steps went. */
import { formatType, type TensorType } from '../core/types.ts';
import { costSeconds, type DeviceModel, referenceDevice, withNativeProducts } from '../cost/analytic.ts';
import type { MachineCosts } from '../cost/machine.ts';
import type { BackendName } from '../lower/kernel-call.ts';
import { opLabel } from '../ops/fused.ts';
import type { Instruction, Part } from '../program/instruction.ts';
import type { RecordedSteps } from './record.ts';
import { requireMachine, requireRecorded } from './require-measured.ts';
import { workOf } from './work.ts';

/** Time of some kernels in a step of all devices. */
export interface ProfileRow {
  readonly name: string;
  /** Runs a step. */
  readonly runs: number;
  /** Of one step. */
  readonly seconds: number;
  /** Of all devices' time in instructions other than waiting ones. */
  readonly share: number;
  /** By the op's own count, in which a convolution's padding counts as any other tap; null where it computes nothing. */
  readonly flopsPerSecond: number | null;
  /** Null where it moves nothing: a copy of bytes onto themselves is left out. */
  readonly bytesPerSecond: number | null;
  /** FLOPs over bytes, its place on the roofline; null where it moves none. */
  readonly intensity: number | null;
  /**
   * Time of the roofline over the measured one: 1 is as fast as the machine allows by its measured peaks. Null where it
   * neither computes nor moves anything.
   */
  readonly roofline: number | null;
}

export interface ShapeRow extends ProfileRow {
  readonly op: string;
  readonly kernels: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
}

export interface DeviceRow {
  readonly device: number;
  readonly backend: string;
  readonly busySeconds: number;
  /** In kernels. */
  readonly computeSeconds: number;
  /** Copies to and from the host and within the device, posts. */
  readonly copySeconds: number;
  /** In sends, receives and barriers: copying to others, and waiting for them. */
  readonly exchangeSeconds: number;
  /** Between its instructions. */
  readonly overheadSeconds: number;
}

export interface ProfileBreakdown {
  readonly stepSeconds: number;
  /** Of all devices' work, the share that lies between instructions. */
  readonly overheadShare: number;
  readonly devices: readonly DeviceRow[];
  /** Largest first. */
  readonly ops: readonly ProfileRow[];
  readonly kernels: readonly ProfileRow[];
  readonly shapes: readonly ShapeRow[];
}

interface Sum {
  runs: number;
  seconds: number;
  flops: number;
  bytes: number;
  rooflineSeconds: number;
  readonly part: Part;
}

const exchanges: ReadonlySet<Instruction['kind']> = new Set(['send', 'receive', 'barrier']);

export function breakdownOf(recorded: RecordedSteps, machine: MachineCosts): ProfileBreakdown {
  requireRecorded('breakdownOf', recorded);
  requireMachine('breakdownOf', machine);
  const { plan, program, instructions: times } = recorded;
  const sums = { ops: new Map<string, Sum>(), kernels: new Map<string, Sum>(), shapes: new Map<string, Sum>() };
  let total = 0;
  const devices = plan.programs[program]!.devices.map(({ instructions }, device): DeviceRow => {
    const { backend } = plan.request.devices[device]!;
    const { offsets } = plan.memory[device]!.layouts[program]!;
    const model = rooflineOf(backend, { ...machine.device, speed: 1 });
    const spent = { compute: 0, copy: 0, exchange: 0 };
    instructions.forEach((instruction, i) => {
      const { seconds } = times[device]![i]!;
      spent[instruction.kind === 'compute' ? 'compute' : exchanges.has(instruction.kind) ? 'exchange' : 'copy'] +=
        seconds;
      if (instruction.kind !== 'compute') return;
      const works = instruction.parts.map((part) => workOf(part, offsets));
      const rooflines = works.map((work, p) => instruction.parts[p]!.repeat * costSeconds(work, model));
      const whole = rooflines.reduce((a, b) => a + b, 0);
      instruction.parts.forEach((part, p) => {
        // An instruction of several nodes (samples one by one) is shared out by their rooflines.
        const own = seconds * (whole > 0 ? rooflines[p]! / whole : 1 / rooflines.length);
        const { flops, bytes } = works[p]!;
        const op = opLabel({ name: part.signature.op }, part.signature.attrs);
        const kernels = kernelsOf(part);
        for (const [map, name] of [
          [sums.ops, op],
          [sums.kernels, kernels],
          [sums.shapes, shapeName(part)],
        ] as const) {
          const sum = map.get(name) ?? { runs: 0, seconds: 0, flops: 0, bytes: 0, rooflineSeconds: 0, part };
          sum.runs += part.repeat;
          sum.seconds += own;
          sum.flops += part.repeat * flops;
          sum.bytes += part.repeat * bytes;
          if (flops > 0 || bytes > 0) sum.rooflineSeconds += rooflines[p]!;
          map.set(name, sum);
        }
      });
    });
    total += spent.compute + spent.copy;
    return {
      device,
      backend,
      busySeconds: recorded.busySeconds[device]!,
      computeSeconds: spent.compute,
      copySeconds: spent.copy,
      exchangeSeconds: spent.exchange,
      overheadSeconds: instructions.length * recorded.secondsBetween,
    };
  });
  const rowsOf = (map: ReadonlyMap<string, Sum>): (ProfileRow & { part: Part })[] =>
    [...map]
      .map(([name, { runs, seconds, flops, bytes, rooflineSeconds, part }]) => ({
        name,
        runs,
        seconds,
        share: total > 0 ? seconds / total : 0,
        flopsPerSecond: rateOf(flops, seconds),
        bytesPerSecond: rateOf(bytes, seconds),
        intensity: bytes > 0 ? flops / bytes : null,
        roofline: rateOf(rooflineSeconds, seconds),
        part,
      }))
      .sort((a, b) => b.seconds - a.seconds || (a.name < b.name ? -1 : 1));
  const plain = (map: ReadonlyMap<string, Sum>) => rowsOf(map).map(({ part: _, ...row }) => row);
  const overhead = devices.reduce((sum, d) => sum + d.overheadSeconds, 0);
  return {
    stepSeconds: recorded.stepSeconds,
    overheadShare: overhead / (overhead + total),
    devices,
    ops: plain(sums.ops),
    kernels: plain(sums.kernels),
    shapes: rowsOf(sums.shapes).map(({ part, ...row }) => ({
      ...row,
      op: part.signature.op,
      kernels: kernelsOf(part),
      inputs: part.signature.inputs.map(formatType),
      outputs: part.signature.outputs.map(formatType),
    })),
  };
}

/** Null where there is none; 0 where the clock saw no time pass. */
const rateOf = (amount: number, seconds: number): number | null =>
  amount > 0 ? (seconds > 0 ? amount / seconds : 0) : null;

function rooflineOf(backend: BackendName, wasm: DeviceModel): DeviceModel {
  if (backend === 'reference') return referenceDevice;
  return backend === 'blas' ? withNativeProducts(wasm) : wasm;
}

/** `im2col + gemm`: each kernel once, in order; a backend without kernels of its own computes the op itself. */
const kernelsOf = ({ calls, signature }: Part): string =>
  [...new Set(calls.map((c) => c.kernel))].join(' + ') || signature.op;

/** `matmul 64×784, 512×784 → 64×512`: f32 where nothing else is said. */
const shapeName = ({ signature: { op, inputs, outputs } }: Part): string =>
  `${op} ${inputs.map(shortType).join(', ')} → ${outputs.map(shortType).join(', ')}`;

const shortType = ({ dtype, shape }: TensorType): string =>
  `${dtype === 'f32' ? '' : `${dtype} `}${shape.length === 0 ? 'scalar' : shape.join('×')}`;

/** What a session is given by a program in JavaScript, which may give anything. */

import { UsageError } from '../core/errors.ts';
import { isOfKind, isRecord } from '../core/kinds.ts';
import { checkOptions, type OptionNames, requireArgument, requireWords, shown } from '../core/options.ts';
import { elementCount, type HostTensor } from '../core/types.ts';
import { type Fault, faultKinds } from '../runtime/device-image.ts';
import type { SessionOptions } from './session-options.ts';

const dtypeOf = (data: unknown): string | undefined =>
  data instanceof Float32Array
    ? 'f32'
    : data instanceof Int32Array
      ? 'i32'
      : data instanceof Uint8Array
        ? 'bool'
        : undefined;

/** Throws UsageError for what is no tensor of the host: a dtype, a shape, and as many values of that dtype. */
export function requireHostTensor(what: string, name: string, tensor: unknown): asserts tensor is HostTensor {
  const { type, data } = (tensor ?? {}) as Partial<HostTensor>;
  const dtype = dtypeOf(data);
  const isShaped = Array.isArray(type?.shape) && type.shape.every((size) => isOfKind('index', size));
  const isTyped = isShaped && dtype !== undefined && type.dtype === dtype;
  if (isTyped && data!.length === elementCount(type.shape)) return;
  const values = isTyped ? `${data!.length} values of shape ${shown(type.shape)}` : shown(tensor);
  throw new UsageError('no-tensor', `${what}: ${name} must be a tensor, { type, data }, got ${values}`, {
    fields: { function: what, tensor: name },
    remedy: "{ type: { dtype: 'f32', shape: [2] }, data: Float32Array.of(1, 2) }",
  });
}

/** Throws UsageError for what is no Map of tensors by name. */
export function requireTensorMap(what: string, values: unknown): asserts values is ReadonlyMap<string, HostTensor> {
  const remedy = "new Map([['layer.weight', tensor]])";
  requireArgument(what, values instanceof Map, 'a Map of tensors by name', values, remedy);
  for (const [name, tensor] of values as ReadonlyMap<string, unknown>) requireHostTensor(what, name, tensor);
}

/** Throws UsageError for what is no batch: tensors by the names of inputs and targets. Whether they fit is the feeder's to say. */
export function requireBatch(what: string, batch: unknown): asserts batch is Readonly<Record<string, HostTensor>> {
  requireArgument(what, isRecord(batch), 'a batch, tensors by name', batch, '{ x, y }');
}

/** Throws UsageError for what is asked of a session that its names and kinds do not say. */
export function checkSessionOptions(
  { transport, parameters, poison, faults, threads, blas }: SessionOptions,
  devices: number,
): void {
  const isTransport = transport === undefined || transport === 'threads' || transport === 'local';
  requireArgument('Session.open', isTransport, "transport 'threads' or 'local'", transport, "transport: 'local'");
  if (parameters !== undefined) requireTensorMap('Session.open: parameters', parameters);
  requireWords('Session.open', 'poison', ['standard', 'complement'], poison);
  const isThreads = threads === undefined || typeof threads?.take === 'function';
  requireArgument('Session.open', isThreads, 'threads that can be taken', threads, 'leave threads out');
  const isLibrary = blas === undefined || isOfKind('text', blas?.file);
  requireArgument('Session.open', isLibrary, 'a library', blas, "blas: findBlas('auto')");
  if (faults !== undefined) checkFaults(faults, devices);
}

const faultNames: OptionNames<Fault> = {
  kind: 'required text',
  step: 'required index',
  instruction: 'required index',
  seconds: 'notNegative',
};

function checkFaults(faults: NonNullable<SessionOptions['faults']>, devices: number): void {
  const example = "faults: { 0: [{ kind: 'throw', step: 0, instruction: 3 }] }";
  requireArgument('Session.open: faults', isRecord(faults), 'lists by device', faults, example);
  for (const [device, list] of Object.entries(faults)) {
    const where = `faults.${device}`;
    const isRight = /^\d+$/.test(device) && Number(device) < devices && Array.isArray(list);
    requireArgument(`Session.open: ${where}`, isRight, `a list, of a device below ${devices}`, list, example);
    list.forEach((fault, i) => {
      checkOptions('Session.open', fault, faultNames, `${where}.${i}`);
      requireWords('Session.open', `${where}.${i}.kind`, faultKinds, fault.kind);
    });
  }
}

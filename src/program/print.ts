import { formatBytes } from '../core/format.ts';
import { requireKinds } from '../core/options.ts';
import { formatType } from '../core/types.ts';
import { type DeviceProgram, describe, type StepProgram } from './instruction.ts';
import { requireProgram } from './require-program.ts';

export interface PrintOptions {
  /** Byte offset of every buffer, by device; printed beside the names. */
  readonly offsets?: readonly (readonly number[])[];
}

/**
 * A step as text: a block a device, a line an instruction.
 *
 *     device 0: 12 buffers, 20 instructions
 *       0  post grad@0 for message 0 of device 1        → grad@0 f32[4, 10]
 */
export function printProgram(program: StepProgram, options: PrintOptions = {}): string {
  requireProgram('printProgram', program);
  requireKinds('printProgram', { options: ['record', options] });
  return program.devices.map((device) => printDevice(device, options.offsets?.[device.device])).join('\n\n');
}

function printDevice(program: DeviceProgram, offsets: readonly number[] | undefined): string {
  const place = (id: number) => {
    const { name, type, bytes, view } = program.buffers[id]!;
    const at = offsets && offsets[id]! >= 0 ? ` @${offsets[id]}` : '';
    const part = view ? `, in ${program.buffers[view.of]!.name} + ${view.plus}` : '';
    return `${name} ${formatType(type)}${at} (${formatBytes(bytes)}${part})`;
  };
  const width = String(program.instructions.length).length;
  const lines = program.instructions.map((instruction, at) => {
    const results =
      instruction.kind === 'compute'
        ? ` → ${instruction.outputs.map(place).join(', ')}`
        : 'buffer' in instruction
          ? ` · ${place(instruction.buffer)}`
          : '';
    return `  ${String(at).padStart(width)}  ${describe(instruction, program)}${results}`;
  });
  return [
    `device ${program.device}: ${program.buffers.length} buffers, ${program.instructions.length} instructions`,
    ...lines,
  ].join('\n');
}

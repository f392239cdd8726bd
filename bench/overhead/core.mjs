// What a call and what an instruction costs a device: lists of instructions whose kernel is empty, one call and ten calls an
// instruction, and the bare call in a loop, in turns. Two unknowns, two lists.
import { close } from '../../dist/backends/wasm/close.js';
import { Control } from '../../dist/runtime/control.js';
import { Device } from '../../dist/runtime/device.js';
import { median } from '../compare/statistics.mjs';
import { us } from './text.mjs';

/** (func (param i32 i32 i32 i32 i32)) and nothing in it, exported as `f`. */
const module = '0061736d 01000000 0109 0160 05 7f7f7f7f7f 00 0302 0100 0705 01 01 66 00 00 0a04 01 02 00 0b';
const empty = new WebAssembly.Instance(new WebAssembly.Module(Buffer.from(module.replaceAll(' ', ''), 'hex'))).exports
  .f;

function emptyProgram(instructions, calls) {
  const part = {
    signature: { op: 'empty', inputs: [], outputs: [], attrs: {} },
    calls: Array.from({ length: calls }, () => ({ kernel: 'empty', args: [0, 16, 32, 48, 4] })),
    inputs: [],
    outputs: [],
    repeat: 1,
  };
  const instruction = { kind: 'compute', task: '0F0', microbatch: 0, node: 'n', op: 'empty', parts: [part] };
  return {
    program: {
      device: 0,
      buffers: [],
      instructions: Array.from({ length: instructions }, () => ({
        ...instruction,
        inputs: [],
        outputs: [],
        workspace: null,
        overwrites: null,
      })),
    },
    offsets: [],
    peerOffsets: [],
    deaths: [],
    persistent: [],
    feeds: [],
    results: [],
  };
}

/** Lists of one and of ten calls an instruction, and the bare call, `rounds` hundred times in turns. */
export async function deviceCore(rounds) {
  const control = Control.create(1);
  const channel = { startStep() {}, waitedSeconds: 0 };
  const core = new Device({
    device: 0,
    memory: new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true }),
    control,
    channel,
    backend: { name: 'wasm', bind: (call) => close(empty, call.args) },
    poison: 'standard',
    audit: false,
    faults: [],
    now: () => performance.now(),
    exit: () => {},
  });
  const n = 500;
  core.load('one', emptyProgram(n, 1));
  core.load('ten', emptyProgram(n, 10));
  const bare = () => {
    const begin = performance.now();
    for (let i = 0; i < n; i++) empty(0, 16, 32, 48, 4);
    return (performance.now() - begin) / 1000;
  };
  const times = { one: [], ten: [], bare: [] };
  for (let i = 0; i < 100 * rounds; i++) {
    for (const program of ['one', 'ten']) times[program].push((await core.step({ program, step: i })).seconds / n);
    times.bare.push(bare() / n);
  }
  const [one, ten, call] = ['one', 'ten', 'bare'].map((k) => median(times[k].slice(25 * rounds)));
  const perCall = (ten - one) / 9;
  console.log('Device core, empty kernel');
  console.log(
    `  a call within an instruction ${us(perCall)}, beyond the bare call ${us(perCall - call)} (goal ≤ 0.2 µs)`,
  );
  console.log(`  an instruction beside its calls ${us(one - perCall)} (goal ≤ 2 µs)`);
  return {
    call: { seconds: perCall, beyondSeconds: perCall - call, bareSeconds: call },
    instruction: { seconds: one - perCall },
  };
}

import { beforeAll, describe, expect, it } from 'vitest';
import type { Backend } from '../../src/backends/backend.ts';
import { kernelsModule } from '../../src/backends/kernels-module.ts';
import { createReferenceBackend } from '../../src/backends/reference/reference-backend.ts';
import { createWasmBackend } from '../../src/backends/wasm/wasm-backend.ts';
import { byteSize, type HostTensor } from '../../src/core/types.ts';
import { Graph } from '../../src/graph/graph.ts';
import type { Attrs } from '../../src/graph/op-record.ts';
import type { NodeSignature } from '../../src/lower/kernel-call.ts';
import { lowerNode, overwritableInputs } from '../../src/lower/lower.ts';
import { type OpName, recordOf } from '../../src/ops/index.ts';
import { type BackendKind, backendKinds } from './executor.ts';
import { type Case, cases, drawCase, drawInput } from './samples.ts';

// An output may take over the bytes of an input only where the kernels read each element before they write its place: every
// op runs apart from its inputs, and over each input that it may overwrite, and must give the same bits.

const memory = new WebAssembly.Memory({ initial: 64, maximum: 64, shared: true });
const bytes = new Uint8Array(memory.buffer);

/** Bytes of all outputs; output 0 lies over input `over`, or apart (null). Equal inputs of a node may be one buffer (`same`). */
function run(backend: Backend, node: NodeSignature, values: readonly HostTensor[], over: number | null, same = false) {
  let end = 0;
  const place = (size: number): number => {
    const at = end;
    end = Math.ceil((at + size + 1) / 16) * 16;
    return at;
  };
  bytes.fill(0xff);
  const inputs = values.map(({ type, data }, i) => {
    if (same && i > 0) return 0;
    const at = place(byteSize(type));
    bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), at);
    return at;
  });
  const outputs = node.outputs.map((type, i) => (i === 0 && over !== null ? inputs[over]! : place(byteSize(type))));
  const lowered = backend.lower(node);
  const workspace = place(lowered.workspaceBytes);
  for (const call of lowered.calls) backend.bind(call, node, { inputs, outputs, workspace })();
  return node.outputs.map((type, i) =>
    Buffer.from(bytes.slice(outputs[i]!, outputs[i]! + byteSize(type))).toString('hex'),
  );
}

function signatureOf({ op, sample }: Case, attrs: Attrs = sample.attrs): NodeSignature {
  const graph = new Graph();
  const inputs = sample.inputs.map(({ shape, dtype }, i) => graph.input(`x${i}`, { shape, dtype, batchAxis: null }));
  const outputs = graph.add(recordOf(op), inputs, attrs);
  return { op, inputs: inputs.map((t) => t.type), outputs: outputs.map((t) => t.type), attrs };
}

const overwritableOf = (kind: BackendKind, node: NodeSignature) =>
  overwritableInputs(kind, node, lowerNode(kind, node));
/** Inputs away from 0: divisors and variances; the condition of a choice in bytes. */
function caseOf(op: OpName, shapes: readonly (readonly number[])[], attrs: Attrs = {}): Case {
  const inputs = shapes.map((shape, i) =>
    op === 'where' && i === 0 ? { shape, dtype: 'bool' as const } : { shape, low: 0.5, high: 2 },
  );
  return { op, title: `${op}: ${shapes.map((shape) => `[${shape}]`).join(' ')}`, sample: { inputs, attrs } };
}

const usual = cases.filter(({ op }) => !recordOf(op).inPlace && !recordOf(op).alias);

/** Rows and planes that kernels take by periods, in fours or in twos; larger than what documents show. */
const narrow: readonly Case[] = [
  ...(['add', 'mul', 'div'] as const).flatMap((op) =>
    [
      [[140, 3], [3]],
      [[3], [140, 3]],
      [
        [140, 3],
        [140, 1],
      ],
    ].map((shapes) => caseOf(op, shapes)),
  ),
  caseOf('where', [
    [140, 1],
    [140, 3],
    [140, 3],
  ]),
  caseOf('where', [[140, 3], [3], [140, 3]]),
  caseOf('layerNorm', [[6, 3], [3], [3]], { eps: 1e-3 }),
  caseOf('layerNormInputGrad', [[6, 3], [3], [6], [6], [6, 3]]),
  caseOf('groupNorm', [[4, 4], [4], [4]], { groups: 2, eps: 1e-3 }),
  caseOf('groupNormInputGrad', [[4, 4], [4], [4, 2], [4, 2], [4, 4]], { groups: 2 }),
  ...[
    [3, 2, 4, 4],
    [3, 3, 1, 3],
    [3, 3, 1, 7],
  ].flatMap((shape) => [
    caseOf('batchNorm', [shape, [shape[1]!], [shape[1]!]], { eps: 1e-3 }),
    caseOf('batchNormInputGrad', [shape, ...[1, 2, 3].map(() => [shape[1]!]), shape], { eps: 1e-3 }),
  ]),
];

describe.each(backendKinds)('over a dying input on %s', (kind) => {
  let backend: Backend;
  beforeAll(async () => {
    backend = kind === 'wasm' ? createWasmBackend(await kernelsModule(), memory) : createReferenceBackend(memory);
  });

  const safe = [...usual, ...narrow].filter((c) => overwritableOf(kind, signatureOf(c)).length > 0);
  it.each(safe)('$title', (c) => {
    const node = signatureOf(c);
    const values = drawCase(c);
    const apart = run(backend, node, values, null);
    for (const over of overwritableOf(kind, node))
      expect(run(backend, node, values, over), `input ${over}`).toEqual(apart);
  });

  it('x ∘ x, both of whose inputs are one buffer', () => {
    for (const op of ['add', 'sub', 'mul', 'div', 'pow', 'maximum', 'minimum', 'mod', 'fmod'] as const) {
      const input = { shape: [3, 7], low: 0.5, high: 2 };
      const x = drawInput(input, op);
      const node = signatureOf({ op, title: op, sample: { inputs: [input, input], attrs: {} } });
      expect(run(backend, node, [x, x], 0, true)).toEqual(run(backend, node, [x, x], null, true));
    }
  });
});

describe('what WebAssembly kernels may overwrite', () => {
  const positions = new Map<string, Set<number>>();
  for (const c of usual) {
    for (const i of overwritableOf('wasm', signatureOf(c))) {
      positions.set(c.op, (positions.get(c.op) ?? new Set()).add(i));
    }
  }
  const of = (op: string): number[] => [...(positions.get(op) ?? [])].sort();

  it('elementwise ops any operand of the full size', () => {
    for (const op of ['relu', 'exp', 'cast', 'neg', 'clip']) expect(of(op), op).toEqual([0]);
    for (const op of ['add', 'mul', 'reluGrad', 'geluGrad', 'eluGrad']) expect(of(op), op).toEqual([0, 1]);
    expect(of('where')).toEqual([1, 2]);
  });
  it('what works by rows and channels the activation, and the gradients also the cotangent', () => {
    for (const op of ['softmax', 'logSoftmax', 'layerNorm', 'groupNorm', 'batchNorm', 'crossEntropyGrad', 'dropout']) {
      expect(of(op), op).toEqual([0]);
    }
    expect(of('softmaxGrad')).toEqual([0, 1]);
    for (const op of ['layerNormInputGrad', 'groupNormInputGrad', 'batchNormInputGrad'])
      expect(of(op), op).toEqual([0, 4]);
  });
  it('the first of a sum over microbatches, which becomes the sum', () => expect(of('accumulate')).toEqual([0]));
  it('never an operand that is repeated', () => {
    const node = signatureOf({
      op: 'add',
      title: '',
      sample: { inputs: [{ shape: [4, 3] }, { shape: [3] }], attrs: {} },
    });
    expect(overwritableOf('wasm', node)).toEqual([0]);
  });
  it('nothing that reads out of place', () => {
    for (const op of ['matmul', 'conv', 'maxPool', 'cumSum', 'gather', 'layerNormWeightGrad'])
      expect(of(op), op).toEqual([]);
  });

  it('the comparison sees a kernel that is not safe', async () => {
    const backend = createWasmBackend(await kernelsModule(), memory);
    const sample = { inputs: [{ shape: [5, 6] }], attrs: { perm: [1, 0] } };
    const node = signatureOf({ op: 'transpose', title: '', sample });
    const values = [drawInput(sample.inputs[0]!, 'transpose')];
    expect(run(backend, node, values, 0)).not.toEqual(run(backend, node, values, null));
  });
});

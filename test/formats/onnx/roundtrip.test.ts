// Every sample of every op, written and read again: the same bits on a device, of its values and of its gradients, where it
// has an operator or a function of its own. What is written in parts is rounded as they are: export-ops.test.ts.
import { beforeAll, describe, expect, it } from 'vitest';
import { gradients } from '../../../src/autodiff/backward.ts';
import type { HostTensor } from '../../../src/core/types.ts';
import { decodeOnnx } from '../../../src/formats/onnx/decode.ts';
import { exportOnnx } from '../../../src/formats/onnx/export.ts';
import type { Exporter } from '../../../src/formats/onnx/exporters/exporter.ts';
import { exporters } from '../../../src/formats/onnx/exporters/index.ts';
import { importModel } from '../../../src/formats/onnx/importer.ts';
import { Graph, type Tensor } from '../../../src/graph/graph.ts';
import { recordOf } from '../../../src/ops/index.ts';
import { Executor } from '../../conformance/executor.ts';
import { type Case, cases, drawCase, drawCotangent } from '../../conformance/samples.ts';

function graphOf({ op, sample }: Case): Graph {
  const graph = new Graph();
  const inputs = sample.inputs.map(({ shape, dtype = 'f32' }, i) =>
    graph.input(`x${i}`, { dtype, shape, batchAxis: null }),
  );
  const outputs = graph.add(recordOf(op), inputs, sample.attrs, op);
  outputs.forEach((tensor, i) => void graph.output(`y${i}`, tensor, { batchAxis: null }));
  return graph;
}

const opsetOf = ({ sample }: Case): number => (/^(max|min)$/.test(String(sample.attrs.reduction)) ? 18 : 17);

function kindOf(c: Case): Exporter['kind'] {
  const node = graphOf(c).nodes.find((n) => n.op?.name === c.op)!;
  let exporter = exporters[c.op] as Exporter;
  const signature = {
    inputTypes: node.inputs.map((t) => t.type),
    outputTypes: node.outputs.map((t) => t.type),
    wants: () => true,
    opset: opsetOf(c),
  };
  while (exporter.kind === 'choice') exporter = exporter.of(signature, node.attrs);
  return exporter.kind;
}

const readAgain = (c: Case): Graph => {
  const own = graphOf(c);
  const bytes = exportOnnx(own, { integers: 'INT32', opset: opsetOf(c) });
  const batchAxes = Object.fromEntries(own.sources('input').map((t) => [t.name, null]));
  return importModel(decodeOnnx(bytes, { where: `${c.op}.onnx` }), { batch: 1, batchAxes });
};

/** Gradients of the float outputs, by random cotangents, for the float inputs in order; undefined: there is none. */
function slopesOf(graph: Graph, { title, sample }: Case): (Tensor | undefined)[] {
  const seeds = [...graph.outputs]
    .filter(([, tensor]) => tensor.dtype === 'f32')
    .map(([name, tensor]) => {
      const { data } = drawCotangent(tensor.type, `${title}/${name}`);
      return { tensor, cotangent: graph.constant({ type: tensor.type, data: Float32Array.from(data) }, 'cotangent') };
    });
  const byName = new Map(graph.sources('input').map((t) => [t.name, t]));
  const at = sample.inputs.flatMap(({ dtype = 'f32' }, i) => (dtype === 'f32' ? [byName.get(`x${i}`)!] : []));
  return [...gradients(seeds, at)];
}

/** Values that differ all the same, and why; one that agrees after all fails. */
const otherValues: Readonly<Record<string, string>> = {
  'crossEntropy: sequences, a class ignored': 'read as logSoftmax and a sum, not as the fused loss',
};
const otherGradients: Readonly<Record<string, string>> = {
  'matmul: one b, a transposed':
    'b is of the whole batch: with a Transpose of its own, its gradient is summed in another order',
};

const same = cases.filter((c) => ['nodes', 'function'].includes(kindOf(c)));
/** Recurrent ops are written step by step, and their gradients are those of the steps. */
const differentiable = same.filter(
  ({ op, sample }) => !op.endsWith('Scan') && recordOf(op).gradient.kind !== 'none' && sample.gradientOf?.length !== 0,
);

describe('written and read again', () => {
  let device: Executor;
  beforeAll(async () => {
    device = await Executor.create('wasm');
  });

  const valuesOf = (graph: Graph, tensors: readonly Tensor[], drawn: readonly HostTensor[]): HostTensor[] =>
    device.run(tensors, new Map(graph.sources('input').map((t) => [t, drawn[Number(t.name.slice(1))]!])));

  /** Whether both graphs give the same numbers; NaN is NaN whatever its bits. */
  function agree(c: Case, of: (graph: Graph) => readonly (Tensor | undefined)[]): boolean {
    const drawn = drawCase(c);
    const [own, read] = [graphOf(c), readAgain(c)].map((graph) => {
      const tensors = of(graph);
      const values = valuesOf(
        graph,
        tensors.filter((t) => t !== undefined),
        drawn,
      ).values();
      return tensors.map((t) => t && values.next().value!);
    }) as [(HostTensor | undefined)[], (HostTensor | undefined)[]];
    expect(read.map((t) => t?.type)).toEqual(own.map((t) => t?.type));
    return own.every((t, i) => t?.data.every((v, k) => Object.is(v, read[i]!.data[k])) ?? true);
  }

  it.each(same)('$title: its values', (c) => {
    expect(agree(c, ({ outputs }) => [...outputs.values()])).toBe(!(c.title in otherValues));
  });

  it.each(differentiable)('$title: its gradients', (c) => {
    expect(agree(c, (graph) => slopesOf(graph, c))).toBe(!(c.title in otherGradients));
  });

  it('of the exceptions there is each', () => {
    const titles = same.map(({ title }) => title);
    expect([...Object.keys(otherValues), ...Object.keys(otherGradients)].filter((t) => !titles.includes(t))).toEqual(
      [],
    );
  });
});

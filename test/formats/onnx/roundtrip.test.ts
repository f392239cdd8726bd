// Every sample of every op and every built-in model, written and read again: the same bits on a device, of the values and of
// the gradients, where an op has an operator or a function of its own.
import { writeFileSync } from 'node:fs';
import { beforeAll, expect, it } from 'vitest';
import { gradients } from '../../../src/autodiff/backward.ts';
import type { HostTensor } from '../../../src/core/types.ts';
import { decodeOnnx } from '../../../src/formats/onnx/decode.ts';
import { exportOnnx } from '../../../src/formats/onnx/export.ts';
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

let device: Executor;
beforeAll(async () => {
  device = await Executor.create('wasm');
});

const feedsOf = (graph: Graph, values: readonly HostTensor[]): Map<Tensor, HostTensor> =>
  new Map(graph.sources('input').map((t) => [t, values[Number(t.name.slice(1))]!]));

function slopes(graph: Graph, title: string): (Tensor | undefined)[] {
  const ys = [...graph.outputs.values()].filter((t) => t.dtype === 'f32');
  const at = graph.sources('input').filter((t) => t.dtype === 'f32').sort((a, b) => (a.name < b.name ? -1 : 1));
  const seeds = ys.map((tensor, i) => {
    const { data } = drawCotangent(tensor.type, `${title}/${i}`);
    return { tensor, cotangent: graph.constant({ type: tensor.type, data: Float32Array.from(data) }, 'cotangent') };
  });
  return gradients(seeds, at) as (Tensor | undefined)[];
}

it('explore', { timeout: 280000 }, () => {
  const lines: string[] = [];
  for (const c of cases) {
    const values = drawCase(c);
    let file: Uint8Array;
    try {
      file = exportOnnx(graphOf(c), { integers: 'INT32', opset: /^(max|min)$/.test(String(c.sample.attrs.reduction)) ? 18 : 17 });
    } catch (e) {
      lines.push(`NOEXPORT ${c.title}: ${(e as Error).message.split('\n')[0]}`);
      continue;
    }
    try { writeFileSync(`/tmp/onnxw/exp/${c.title.replace(/[^\w]+/g, '_')}.onnx`, file); } catch {}
    const own = graphOf(c);
    let read: Graph;
    try {
      read = importModel(decodeOnnx(file, { where: 'x.onnx' }), {
        batch: 1,
        batchAxes: Object.fromEntries(own.sources('input').map((t) => [t.name, null])),
      });
    } catch (e) {
      lines.push(`NOIMPORT ${c.title}: ${(e as Error).message.split('\n').slice(0, 3).join(' ')}`);
      continue;
    }
    const bits = (g: Graph, ts: readonly Tensor[]) => device.run(ts, feedsOf(g, values)).map((v) => Buffer.from(v.data.buffer, v.data.byteOffset, v.data.byteLength).toString('hex'));
    try {
      const names = [...own.outputs.keys()].filter((n) => read.outputs.has(n));
      if (names.length !== own.outputs.size) lines.push(`OUTPUTS ${c.title}`);
      const a = bits(own, names.map((n) => own.outputs.get(n)!));
      const b = bits(read, names.map((n) => read.outputs.get(n)!));
      a.forEach((v, i) => { if (v !== b[i]) lines.push(`VALUE ${c.title} ${names[i]}`); });
      names.forEach((n) => {
        const [s, t] = [own.outputs.get(n)!.type, read.outputs.get(n)!.type];
        if (s.dtype !== t.dtype || s.shape.join() !== t.shape.join()) lines.push(`TYPE ${c.title} ${n}`);
      });
    } catch (e) {
      lines.push(`NORUN ${c.title}: ${(e as Error).message.split('\n')[0]}`);
      continue;
    }
    try {
      let da: (Tensor | undefined)[] | undefined;
      try { da = slopes(own, c.title); } catch { }
      if (!da) continue;
      const db = slopes(read, c.title);
      da.forEach((t, i) => {
        const u = db[i];
        if (!t !== !u) lines.push(`GRADMISSING ${c.title} ${i} ${!!t} ${!!u}`);
        if (!t || !u) return;
        if (bits(own, [t])[0] !== bits(read, [u])[0]) lines.push(`GRAD ${c.title} ${i}`);
      });
    } catch (e) {
      lines.push(`GRADERR ${c.title}: ${(e as Error).message.split('\n')[0]}`);
    }
  }
  writeFileSync('/tmp/onnxw/roundtrip.txt', lines.join('\n'));
  expect(cases.length).toBeGreaterThan(0);
});

/** One of ONNX's own operator cases (Debian's `libonnx-testdata`): a model of a node, inputs and outputs. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { ModelProtoSchema, TensorProtoSchema } from 'onnx-buf';
import { elementCount, type HostTensor } from '../../../src/core/types.ts';
import { decodeOnnx } from '../../../src/formats/onnx/decode.ts';
import { prepareImport } from '../../../src/formats/onnx/importer.ts';
import { constantOf, isFloatDType } from '../../../src/formats/onnx/known.ts';
import type { OnnxModel, OnnxTensor } from '../../../src/formats/onnx/model.ts';
import { evaluate } from '../../../src/graph/evaluate.ts';
import type { Tensor } from '../../../src/graph/graph.ts';
import type { RefTensor } from '../../../src/graph/op-record.ts';
import type { ModelMode } from '../../../src/optim/model.ts';

export const caseRoot = '/usr/share/libonnx-testdata/data';
export const hasCases = existsSync(caseRoot);

/** Folders of all cases, as `node/test_add`. */
export const caseNames = (): string[] =>
  ['node', 'pytorch-operator', 'pytorch-converted', 'simple'].flatMap((kind) =>
    readdirSync(`${caseRoot}/${kind}`)
      .filter((name) => existsSync(`${caseRoot}/${kind}/${name}/model.onnx`))
      .map((name) => `${kind}/${name}`),
  );

export interface OperatorCase {
  readonly model: OnnxModel;
  readonly inputs: readonly OnnxTensor[];
  readonly outputs: readonly OnnxTensor[];
}

/** A lone TensorProto, decoded as an initialiser of a model is. Throws where the file holds none (a sequence). */
function tensorsOf(folder: string, kind: 'input' | 'output'): OnnxTensor[] {
  const bytes: Uint8Array[] = [];
  for (let i = 0; existsSync(`${folder}/test_data_set_0/${kind}_${i}.pb`); i++) {
    bytes.push(readFileSync(`${folder}/test_data_set_0/${kind}_${i}.pb`));
  }
  const initializer = bytes.map((b) => fromBinary(TensorProtoSchema, b));
  const model = toBinary(ModelProtoSchema, create(ModelProtoSchema, { graph: { initializer } }));
  return [...decodeOnnx(model, { where: folder }).graph.initializers];
}

export function readCase(name: string): OperatorCase {
  const folder = `${caseRoot}/${name}`;
  return {
    model: decodeOnnx(readFileSync(`${folder}/model.onnx`), { where: `${folder}/model.onnx` }),
    inputs: tensorsOf(folder, 'input'),
    outputs: tensorsOf(folder, 'output'),
  };
}

/** Cases that hold tensors only: sequences and such belong to no tensor operator. Decoded once for all files of a process. */
let tensorCases: readonly (readonly [name: string, OperatorCase])[] | undefined;
function everyCase(): NonNullable<typeof tensorCases> {
  tensorCases ??= caseNames().flatMap((name) => {
    try {
      return [[name, readCase(name)] as const];
    } catch {
      return [];
    }
  });
  return tensorCases;
}

/** Cases all of whose nodes are `operators` or stand `beside` them, some of the former; none where the cases are missing. */
export const casesOf = (operators: ReadonlySet<string>, beside: readonly string[]): [string, OperatorCase][] =>
  (hasCases ? everyCase() : [])
    .filter(([, { model }]) => {
      const types = model.graph.nodes.map((n) => n.opType);
      return types.some((t) => operators.has(t)) && types.every((t) => operators.has(t) || beside.includes(t));
    })
    .map(([name, c]) => [name, c]);

/**
 * The case's outputs by the graph that the importer makes, played in f64 by the ops' references. Nothing is batched.
 * `constants`: which inputs become constants of the file instead — integers and bools are what operators want to know at
 * import (shapes, axes); `rest` all but the first; `all` leaves everything to the host where it has a rule.
 */
export function runCase(
  { model, inputs }: OperatorCase,
  options: { readonly constants?: 'none' | 'integers' | 'rest' | 'all'; readonly mode?: ModelMode } = {},
): RefTensor[] {
  const { constants = 'integers', mode = 'evaluation' } = options;
  const fed = model.graph.inputs.map((info, i) => ({ info, tensor: inputs[i] }));
  const isConstant = ({ dtype }: OnnxTensor, i: number) =>
    constants === 'all' || (constants === 'rest' && i > 0) || (constants === 'integers' && !isFloatDType(dtype));
  const initializers = fed.flatMap(({ info, tensor }, i) =>
    tensor && isConstant(tensor, i) ? [{ ...tensor, name: info.name }] : [],
  );
  const graph = prepareImport(
    { ...model, graph: { ...model.graph, initializers: [...model.graph.initializers, ...initializers] } },
    { batchAxes: Object.fromEntries(fed.map(({ info }) => [info.name, null])), frozen: [] },
  ).build(1, mode);
  const feeds = new Map<Tensor, RefTensor>();
  for (const input of graph.sources('input')) {
    const at = fed.findIndex(({ info }) => info.name === input.name);
    if (at >= 0) feeds.set(input, { type: input.type, data: constantOf(inputs[at]!).data });
    else if (input.node.source?.feed?.kind === 'randomKey')
      feeds.set(input, { type: input.type, data: new Float64Array(4) });
    else
      feeds.set(input, {
        type: input.type,
        data: Float64Array.from({ length: elementCount(input.shape) }, (_, i) => i),
      });
  }
  for (const kind of ['parameter', 'buffer'] as const) {
    for (const source of graph.sources(kind)) {
      const { init } = source.node.source!;
      const data: HostTensor['data'] = init?.kind === 'data' ? init.data : new Float32Array(elementCount(source.shape));
      feeds.set(source, { type: source.type, data: Float64Array.from(data) });
    }
  }
  return evaluate([...graph.outputs.values()], feeds);
}

/** What differs between values and a case's outputs; undefined where they agree. */
export function differs(
  actual: readonly RefTensor[],
  { outputs }: OperatorCase,
  rtol = 1e-3,
  atol = 1e-5,
): string | undefined {
  for (const [k, wanted] of outputs.entries()) {
    const got = actual[k];
    if (!got) return `output ${k} is missing`;
    const shape = got.type.shape.join();
    if (shape !== wanted.dims.join()) return `output ${k} is [${shape}] for [${wanted.dims.join()}]`;
    const { data } = constantOf(wanted);
    const at = data.findIndex((w, i) => {
      const v = got.data[i]!;
      return !(v === w || (Number.isNaN(v) && Number.isNaN(w)) || Math.abs(v - w) <= atol + rtol * Math.abs(w));
    });
    if (at >= 0) return `output ${k}, element ${at}: ${got.data[at]} for ${data[at]}`;
  }
  return undefined;
}

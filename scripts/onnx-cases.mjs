// Runs ONNX's operator cases (Debian's `libonnx-testdata`) on a WebAssembly device and writes docs/onnx-cases.md:
// `npm run build && node scripts/onnx-cases.mjs [--only NAME]`. test/formats/onnx/cases.test.ts runs the same and holds the
// page to it.
//
// A case is a model, inputs and outputs. All its inputs are fed; where a node must know one at import (a shape, axes, a
// count), that input is given as a constant of the model instead. Outputs must agree as in ONNX's own runner: within
// 1e-3 relative and 1e-7 absolute, integers and truth values exactly.
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { ModelProtoSchema, TensorProtoSchema } from 'onnx-buf';

export const casesFolder = '/usr/share/libonnx-testdata/data';
export const casesPage = fileURLToPath(new URL('../docs/onnx-cases.md', import.meta.url));
const suites = ['node', 'pytorch-operator', 'pytorch-converted', 'simple'];

/** Cases whose outputs are random numbers of another generator: nothing to compare with. */
const random = /^test_(training_dropout(?!_zero_ratio)|bernoulli|dropout_random)/;

/** Cases whose outputs were computed with an attribute that their node does not state: with it they must agree. */
const unstated = {
  test_adam_multiple: { name: 'epsilon', value: 0.01, instead: 'the operator’s default of 1e-6' },
};

export const casesOf = () =>
  suites.flatMap((suite) => {
    const folder = join(casesFolder, suite);
    return existsSync(folder)
      ? readdirSync(folder)
          .sort()
          .map((name) => ({ suite, name, folder: join(folder, name) }))
      : [];
  });

/**
 * A tensor of a case, of the element type that the model declares; undefined for sequences, maps and optional values, which
 * are other messages. 16-bit brain floats are kept as unsigned integers in these files.
 */
function readTensor(api, file, declared) {
  const proto = fromBinary(TensorProtoSchema, readFileSync(file));
  if (proto.dataType === 0) return undefined;
  if (declared === 'BFLOAT16' && proto.dataType === 4) proto.dataType = 16;
  // By the importer's own decoder, as an initialiser of an empty model.
  const model = create(ModelProtoSchema, {
    irVersion: 8n,
    opsetImport: [{ domain: '', version: 17n }],
    graph: { name: 'tensor', initializer: [{ ...proto, name: proto.name || 'tensor' }] },
  });
  return api.decodeOnnx(toBinary(ModelProtoSchema, model), { where: file }).graph.initializers[0];
}

const numbersOf = (api, tensor) => api.constantOf(tensor).data;

/** → { outcome: 'passed' | 'unsupported' | 'failed', reason?, operators, constants } */
export async function runCase(api, { name, folder }) {
  const operators = new Set();
  try {
    const model = api.decodeOnnx(readFileSync(join(folder, 'model.onnx')), { where: name });
    const missing = unstated[name];
    if (missing) model.graph.nodes[0].attributes.set(missing.name, { kind: 'float', value: missing.value });
    for (const node of model.graph.nodes) operators.add(node.opType);
    if (random.test(name)) return { outcome: 'unsupported', reason: 'random numbers of another generator', operators };
    for (let set = 0; existsSync(join(folder, `test_data_set_${set}`)); set++) {
      const problem = await runSet(api, model, join(folder, `test_data_set_${set}`));
      if (problem) return { ...problem, operators };
    }
    return { outcome: 'passed', operators };
  } catch (error) {
    if (error.code === 'tensor-range') {
      return { outcome: 'unsupported', reason: 'values of f64 outside of the range of f32', operators };
    }
    if (error.code === 'onnx-unsupported') {
      const nodes = error.fields.nodes;
      return { outcome: 'unsupported', reason: nodes ? nodes[0].reason : error.message, operators };
    }
    return { outcome: 'failed', reason: `${error.code ?? error.name}: ${error.message.split('\n')[0]}`, operators };
  }
}

async function runSet(api, model, folder) {
  const fed = model.graph.inputs.filter(({ name }) => !model.graph.initializers.some((t) => t.name === name));
  const tensors = new Map();
  for (const [i, input] of fed.entries()) {
    if (!input.dtype) return { outcome: 'unsupported', reason: `input "${input.name}" is no tensor` };
    const tensor = readTensor(api, join(folder, `input_${i}.pb`), input.dtype);
    if (!tensor) return { outcome: 'unsupported', reason: `input "${input.name}" is no tensor` };
    if (tensor.dtype === 'STRING') return { outcome: 'unsupported', reason: 'text' };
    tensors.set(input.name, tensor);
  }
  // Sizes are those of the data: a few cases declare others.
  const sized = model.graph.inputs.map((i) => (tensors.has(i.name) ? { ...i, shape: tensors.get(i.name).dims } : i));
  model = { ...model, graph: { ...model.graph, inputs: sized } };
  const { outputs, error } = await compute(api, model, fed, tensors);
  if (error) throw error;
  for (const [i, { name, dtype }] of model.graph.outputs.entries()) {
    const file = join(folder, `output_${i}.pb`);
    const expected = readTensor(api, file, dtype);
    if (!expected) return { outcome: 'unsupported', reason: `output "${name}" is no tensor` };
    if (expected.dtype === 'STRING') return { outcome: 'unsupported', reason: 'text' };
    if (
      expected.dtype === 'DOUBLE' &&
      numbersOf(api, expected).some((v) => Number.isFinite(v) && Math.abs(v) > 3.4e38)
    ) {
      return { outcome: 'unsupported', reason: 'values of f64 outside of the range of f32' };
    }
    if (expected.dtype === 'BFLOAT16') {
      return {
        outcome: 'unsupported',
        reason: 'results in bfloat16: 16-bit floats are f32 in a graph and are not rounded',
      };
    }
    const problem = difference(api, outputs.get(name), expected);
    if (problem) return { outcome: 'failed', reason: `output ${name}: ${problem}` };
  }
  return undefined;
}

/** Feeds all inputs; gives those that must be known as constants, the smallest set of a few that will do. */
async function compute(api, model, fed, tensors) {
  const rank = ({ name }) => tensors.get(name).dims.length;
  const isInteger = ({ dtype }) => /INT|BOOL/.test(dtype);
  const attempts = [
    [],
    fed.filter((input) => isInteger(input) && rank(input) <= 1),
    fed.filter((input) => rank(input) <= 1 && (isInteger(input) || rank(input) === 0)),
    fed.filter((input) => isInteger(input) || rank(input) <= 1),
    fed,
  ];
  let first;
  for (const constant of attempts) {
    try {
      return { outputs: await run(api, model, fed, tensors, new Set(constant.map((c) => c.name))) };
    } catch (error) {
      first ??= error;
      if (!['onnx-unsupported', 'onnx-shape', 'onnx-dim', 'bad-shape'].includes(error.code)) return { error };
    }
  }
  return { error: first };
}

async function run(api, model, fed, tensors, constant) {
  const constants = {};
  const data = {};
  for (const { name } of fed) {
    const { dims: shape } = tensors.get(name);
    if (constant.has(name)) constants[name] = { shape, data: numbersOf(api, tensors.get(name)) };
    else {
      const host = api.toHostConstant(api.constantOf(tensors.get(name)));
      if (typeof host === 'string') throw Object.assign(new Error(host), { code: 'onnx-unsupported', fields: {} });
      data[name] = host;
    }
  }
  const batchAxes = Object.fromEntries(fed.filter(({ name }) => !constant.has(name)).map(({ name }) => [name, null]));
  const importer = api.prepareImport(model, { batchAxes, constants });
  const plan = api.makePlan({
    model: { name: 'case', build: (batch, mode) => ({ graph: importer.build(batch, mode), objective: [] }) },
    // Nodes keep their own attributes in training mode; there is no objective, so nothing but the forward pass runs.
    programs: { run: { batch: 1, mode: 'gradients', outputs: true } },
    microbatches: 1,
    devices: [{ backend: 'wasm', memory: null, speed: 1 }],
    schedule: 'gpipe',
    partition: 'auto',
  });
  const session = await api.Session.open(plan, { transport: 'local' });
  try {
    const { results } = await session.run('run', data);
    return new Map([...results].map(([name, t]) => [name.replace(/^output\//, ''), t]));
  } finally {
    await session.close();
  }
}

function difference(api, actual, expected) {
  if (!actual) return 'is missing';
  const wanted = numbersOf(api, expected);
  if (actual.type.shape.join() !== expected.dims.join()) {
    return `has the shape [${actual.type.shape}] instead of [${expected.dims}]`;
  }
  for (let i = 0; i < wanted.length; i++) {
    const [a, e] = [actual.data[i], wanted[i]];
    if (a === e || (Number.isNaN(a) && Number.isNaN(e))) continue;
    const exact = !/FLOAT|DOUBLE/.test(expected.dtype);
    if (exact || !(Math.abs(a - e) <= 1e-7 + 1e-3 * Math.abs(e))) return `element ${i} is ${a} instead of ${e}`;
  }
  return undefined;
}

/** The page, from every case's outcome. */
export function casesMarkdown(results) {
  const count = (list, outcome) => list.filter((r) => r.outcome === outcome).length;
  const bySuite = [...new Set(results.map((r) => r.suite))].map((suite) => {
    const own = results.filter((r) => r.suite === suite);
    return `| ${suite} | ${own.length} | ${count(own, 'passed')} | ${count(own, 'unsupported')} | ${count(own, 'failed')} |`;
  });
  const reasons = new Map();
  for (const { outcome, reason, name } of results) {
    if (outcome !== 'unsupported') continue;
    const key = reason.replace(/\s+/g, ' ');
    reasons.set(key, [...(reasons.get(key) ?? []), name.replace(/^test_/, '')]);
  }
  const operators = new Map();
  for (const r of results) {
    for (const op of r.operators) {
      const own = operators.get(op) ?? { passed: 0, unsupported: 0, failed: 0 };
      own[r.outcome]++;
      operators.set(op, own);
    }
  }
  const cell = (text) => text.replaceAll('|', '\\|');
  return `# ONNX's operator cases

Written by \`node scripts/onnx-cases.mjs\`: the cases of Debian's \`libonnx-testdata\` (ONNX ${'1.12'}) on a WebAssembly device,
within ONNX's own tolerances. Inputs that a node must know when the graph is built (shapes, axes, counts, conditions) are
given as constants.

| suite | cases | passed | unsupported | failed |
|---|---:|---:|---:|---:|
${bySuite.join('\n')}
| all | ${results.length} | ${count(results, 'passed')} | ${count(results, 'unsupported')} | ${count(results, 'failed')} |

${Object.entries(unstated)
  .map(
    ([name, { name: attribute, value, instead }]) =>
      `\`${name}\` was computed with ${attribute} ${value}, which its node does not state; it runs with that value and not with ${instead}.`,
  )
  .join('\n')}

## By operator

Cases that contain the operator, among others perhaps.

| operator | passed | unsupported | failed |
|---|---:|---:|---:|
${[...operators]
  .sort(([a], [b]) => (a < b ? -1 : 1))
  .map(([op, own]) => `| ${op} | ${own.passed} | ${own.unsupported} | ${own.failed} |`)
  .join('\n')}

## What is not supported, and why

| reason | cases |
|---|---|
${[...reasons]
  .sort(([, a], [, b]) => b.length - a.length)
  .map(
    ([reason, names]) =>
      `| ${cell(reason)} | ${names.length}: ${names.slice(0, 6).join(', ')}${names.length > 6 ? ' …' : ''} |`,
  )
  .join('\n')}
`;
}

export async function runAll(api, only) {
  const results = [];
  for (const c of casesOf()) {
    if (only && !c.name.includes(only)) continue;
    results.push({ suite: c.suite, name: c.name, ...(await runCase(api, c)) });
  }
  return results;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [importer, decode, known, plan, session] = await Promise.all(
    ['formats/onnx/importer', 'formats/onnx/decode', 'formats/onnx/known', 'plan/plan', 'train/session'].map(
      (module) => import(`../dist/${module}.js`),
    ),
  );
  const only = process.argv[2] === '--only' ? process.argv[3] : undefined;
  const results = await runAll({ ...importer, ...decode, ...known, ...plan, ...session }, only);
  for (const { suite, name, reason, outcome } of results) {
    if (outcome === 'failed' || only) console.log(`${outcome} ${suite}/${name}${reason ? `: ${reason}` : ''}`);
  }
  const count = (outcome) => results.filter((r) => r.outcome === outcome).length;
  console.log(`${count('passed')} passed, ${count('unsupported')} unsupported, ${count('failed')} failed`);
  if (!only) writeFileSync(casesPage, casesMarkdown(results));
  process.exitCode = count('failed') > 0 ? 1 : 0;
}

import { describe, expect, it } from 'vitest';
import { packageRoot } from '../../src/core/package-root.ts';
import { CaseFiles, type GradientCase } from '../oracle/case-files.ts';
import { documented, node, textOf } from './run.ts';

const readme = textOf('examples/textbook/README.md');

/** Every command of the README with the output that stands behind it. */
const commands = [...readme.matchAll(/^```sh\n([^\n]+)\n```\n\n```text\n(.*?)^```$/gms)].map((m) => [m[1]!, m[2]!]);

describe('examples/textbook', () => {
  it('shows the output of every command', () => {
    expect(commands.length).toBe(8);
    expect(readme.match(/^```sh$/gm)).toHaveLength(commands.length);
  });

  // Where an output changed on purpose: scripts/example-outputs.mjs
  it.each(commands)('%s', async (line, output) => {
    const run = line.startsWith('npx ') ? documented(line, packageRoot()) : node(line.split(' ').slice(1));
    const { code, stdout, stderr } = await run;
    expect({ code, stderr, stdout: `${stdout.trimEnd()}\n` }).toEqual({ code: 0, stderr: '', stdout: output });
  });

  it('times every order where it is asked to', async () => {
    const { code, stderr, stdout } = await node(['examples/textbook/second-order.mjs', '--time']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const rows = stdout.split('Measured on one device')[1]!.match(/^ +[0-3] .* [\d.]+ (µs|ms) +[\d.]+$/gm);
    expect(rows).toHaveLength(4);
  });

  it('ends with exit code 1 where a formula and the graph differ', async () => {
    const lib = JSON.stringify(new URL('../../examples/textbook/lib.mjs', import.meta.url).href);
    const script = (value: number) =>
      `const { compare } = await import(${lib}); compare([['g', [${value}], 'p·z', -12]]);`;
    const run = (value: number) => node(['--input-type=module', '--eval', script(value)]);
    expect(await run(-12)).toMatchObject({ code: 0, stdout: expect.stringContaining('ok  all 1 agree') });
    expect(await run(-12.1)).toMatchObject({ code: 1, stdout: expect.stringContaining('NOT OK  these differ: g') });
    expect(await run(Number.NaN)).toMatchObject({ code: 1 });
  });
});

/** Runs a script of the examples with a case's values; `body` has `values` and gives the results as an object of numbers. */
async function withExample(name: string, values: object, body: string): Promise<Record<string, number[]>> {
  const url = new URL(`../../examples/textbook/${name}`, import.meta.url).href;
  const lib = new URL('../../examples/textbook/lib.mjs', import.meta.url).href;
  const script = `
    const { rows } = await import(${JSON.stringify(lib)});
    const example = await import(${JSON.stringify(url)});
    const values = ${JSON.stringify(values)};
    const result = (() => { ${body} })();
    const flat = Object.entries(result).map(([key, value]) => [key, [value].flat(9)]);
    console.log(JSON.stringify(Object.fromEntries(flat)));`;
  const { code, stdout, stderr } = await node(['--input-type=module', '--eval', script]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return JSON.parse(stdout);
}

/** A case's inputs and initialisers as plain numbers. */
function numbersOf(files: CaseFiles<GradientCase>): Record<string, number[]> {
  const tensors = { ...files.tensors('inputs.safetensors'), ...Object.fromEntries(files.initializers) };
  return Object.fromEntries(Object.entries(tensors).map(([name, { data }]) => [name, [...data]]));
}

function expectAsPyTorch(files: CaseFiles<GradientCase>, got: Record<string, number[]>): void {
  const expected = files.tensors('expected.safetensors');
  const { rtol, tensors, atol_default } = files.json.tolerance;
  for (const [name, values] of Object.entries(got)) {
    const atol = tensors[name]?.atol ?? atol_default;
    expect(values.length, name).toBe(expected[name]!.data.length);
    values.forEach((v, i) => {
      const want = expected[name]!.data[i]!;
      expect(Math.abs(v - want), `${name}[${i}]`).toBeLessThanOrEqual(atol + rtol * Math.abs(want));
    });
  }
}

// The same networks with PyTorch's values: neither the formulas nor the graphs of the examples are only their own proof.
describe('the examples agree with PyTorch', () => {
  it.each([
    ['d2l_mlp_tanh_nobias', false],
    ['d2l_mlp_relu_bias', true],
  ] as const)('weight decay: %s', async (name, bias) => {
    const files = new CaseFiles<GradientCase>(`gradients/${name}`);
    const scale = bias ? "{ 'scale/target': 1 / 12 }" : "{ 'scale/elements/4': 1 / 48 }";
    const common = `const lambda = ${files.json.l2!.lambda}, bias = ${bias};`;
    const values = numbersOf(files);
    const byHand = await withExample(
      'weight-decay.mjs',
      values,
      `${common} const r = example.byHand({
        x: rows(values.x, 10), target: bias ? values.target : rows(values.target, 4), lambda,
        w1: rows(values['hidden.weight'], 10), w2: rows(values['out.weight'], 16),
        b1: values['hidden.bias'], b2: values['out.bias'] });
      return { loss: r.J, 'output/o': r.o, 'grad/hidden.weight': r.dW1, 'grad/out.weight': r.dW2, 'grad_input/x': r.dX,
        ...(bias ? { 'grad/hidden.bias': r.dB1, 'grad/out.bias': r.dB2 } : {}) };`,
    );
    expectAsPyTorch(files, byHand);
    const fromGraph = await withExample(
      'weight-decay.mjs',
      values,
      `${common} return example.fromGraph(example.networkOf([10, 16, 4], { bias }), 12, lambda, { ...values, ...${scale} });`,
    );
    expectAsPyTorch(files, fromGraph);
  });

  it('convolution: cnn_5x5', async () => {
    const files = new CaseFiles<GradientCase>('gradients/cnn_5x5');
    const values = numbersOf(files);
    const byHand = await withExample(
      'convolution.mjs',
      values,
      `const images = rows(values.x, 25).map((image) => rows(image, 5));
      const r = example.byHand(images, values.target, {
        kernel: rows(values['conv.weight'], 2), bias: values['conv.bias'][0], w1: rows(values['fc1.weight'], 4),
        b1: values['fc1.bias'], w2: values['fc2.weight'], b2: values['fc2.bias'][0] });
      return { loss: r.loss, 'output/y': r.y, 'grad/conv.weight': r.kernel, 'grad/conv.bias': r.bias,
        'grad/fc1.weight': r.w1, 'grad/fc1.bias': r.b1, 'grad/fc2.weight': r.w2, 'grad/fc2.bias': r.b2, 'grad_input/x': r.x };`,
    );
    expectAsPyTorch(files, byHand);
    expectAsPyTorch(files, await withExample('convolution.mjs', values, 'return example.fromGraph(4, values);'));
  });

  it('the expression', async () => {
    const files = new CaseFiles<GradientCase>('gradients/expr');
    const line =
      'npx partita graph examples/textbook/expression.onnx --values --input x=1 --input y=3 --input z=-3 --json';
    const { nodes } = JSON.parse((await documented(line, packageRoot())).stdout) as {
      nodes: { name: string; outputs: { value: number[]; gradient: number[] }[] }[];
    };
    const of = (name: string) => nodes.find((n) => n.name === name)!.outputs[0]!;
    expectAsPyTorch(files, {
      'output/g': of('g').value,
      'grad_input/x': of('x').gradient,
      'grad_input/y': of('y').gradient,
      'grad_input/z': of('z').gradient,
    });
  });
});

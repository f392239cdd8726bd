import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { digits, partita, workFolder } from './run.ts';

const folder = workFolder();
const tiny = ['--model.kind', 'mlp', '--model.inputs', '2', '--model.hidden', '2', '--model.classes', '2'];
const graph = (...args: string[]) => partita(folder, ['graph', ...args]);

describe('partita graph', () => {
  it('prints the model, its derivative, and the update, with the shapes of a microbatch', async () => {
    const forward = await graph(...digits, '--microbatches', '4');
    expect(forward).toMatchObject({ code: 0, stderr: '' });
    expect(forward.stdout).toContain('mlp: the model\nbatch 32 in 4 microbatches: shapes of one with 8; ');
    expect(forward.stdout).toContain('%layer.0.relu: f32[8, 16] = relu(%layer.0.add)\n');
    expect(forward.stdout).not.toMatch(/grad|s0/);
    const gradients = await graph(...digits, '--mode', 'gradients');
    expect(gradients.stdout).toMatch(/^ {2}grad\/layer\.1\.bias = %/m);
    expect(gradients.stdout).toMatch(/^ {2}grad_input\/x = %/m);
    expect(gradients.stdout).not.toContain('assignments');
    const train = await graph(...digits, '--mode', 'train');
    expect(train.stdout).toContain('\nassignments\n  %layer.0.weight <- %update.layer.0.weight.sgdUpdate\n');
  });

  it('shows stages and cut edges where the experiment is cut', async () => {
    const cut = ['--devices', '2', '--partition.cuts', 'layer.1', '--partition.placement', '1,0'];
    const { stdout } = await graph(...digits, ...cut, '--mode', 'train');
    expect(stdout).toContain('2 stages by cuts, on devices 1, 0\n');
    expect(stdout).toMatch(/^s1 {2}%layer\.1\.matmul/m);
    expect(stdout).toContain('cut edges\n  s0 -> s1  %layer.0.relu: f32[32, 16]  2.00 KiB\n  s1 -> s0  %grad.');
    const svg = await graph(...digits, ...cut, '--format', 'svg');
    expect(svg.stdout).toContain('>stage 0, device 1<');
    const dot = await graph(...digits, ...cut, '--format', 'dot');
    expect(dot.stdout).toContain('subgraph cluster_1 {');
  });

  it('tells the values and gradients of every edge, in f64', async () => {
    const weights = ['--input', 'layer.0.weight=1,0,0,1', '--input', 'layer.0.bias=0', '--input', 'layer.1.weight=1'];
    const args = [
      ...tiny,
      '--values',
      '--input',
      'x=2,-1',
      '--input',
      'y=1',
      ...weights,
      '--input',
      'layer.1.bias=0,1',
    ];
    const { stdout, code } = await graph(...args, '--json');
    expect(code).toBe(0);
    const json = JSON.parse(stdout);
    expect(json).toMatchObject({ version: 1, command: 'graph', model: 'mlp', mode: 'forward', batch: 1, out: null });
    const outputs = new Map(
      json.nodes.flatMap((n: { outputs: { name: string }[] }) => n.outputs.map((t) => [t.name, t])),
    ) as Map<string, { value: number[]; gradient: number[] }>;
    // logits 2 and 3, so the probabilities are 1 − p and p = σ(1); the second class is right.
    const p = 1 / (1 + Math.exp(-1));
    expect(outputs.get('layer.0.relu')!.value).toEqual([2, 0]);
    expect(outputs.get('layer.1.add')!.value).toEqual([2, 3]);
    const close = (got: number[], want: number[]) => got.forEach((v, i) => void expect(v).toBeCloseTo(want[i]!, 14));
    close(outputs.get('loss.crossEntropy')!.value, [-Math.log(p)]);
    close(outputs.get('layer.1.bias')!.gradient, [1 - p, p - 1]);
    close(outputs.get('layer.1.weight')!.gradient, [2 * (1 - p), 0, 2 * (p - 1), 0]);
    close(outputs.get('x')!.gradient, [0, 0]);
    const text = await graph(...args);
    expect(text.stdout).toContain(
      '%layer.1.add: f32[1, 2] = add(%layer.1.matmul, %layer.1.bias)\n    value     [[2, 3]]\n    gradient  ',
    );
  });

  it('takes values from data, also for the whole derivative', async () => {
    const args = [...digits, '--data.batchSize', '2', '--values', '--mode', 'train'];
    const { stdout, code } = await graph(...args);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^%update\.layer\.1\.bias\.sgdUpdate.*\n {4}value {5}\[/m);
  });

  it('writes files by their ending, the same bytes every time', async () => {
    for (const name of ['a.svg', 'b.svg', 'a.dot']) {
      const { code, stdout } = await graph(...digits, '--out', name);
      expect({ code, stdout }).toEqual({
        code: 0,
        stdout: `mlp: the model: 14 nodes, 7 ops, 4 parameters with 1,210 numbers\nwritten to ${name}\n`,
      });
    }
    const [a, b, dot] = ['a.svg', 'b.svg', 'a.dot'].map((name) => readFileSync(join(folder, name), 'utf8'));
    expect(a).toBe(b);
    expect(a).toMatch(/^<svg /);
    expect(dot).toMatch(/^digraph partita {/);
  });

  it('writes infinities of a causal mask as text in JSON', async () => {
    const gpt = ['--model.kind', 'gpt', '--model.vocab', '5', '--model.context', '3', '--model.width', '4'];
    const { stdout } = await graph(
      ...gpt,
      '--model.layers',
      '1',
      '--model.attention',
      'unfused',
      '--values',
      '--input',
      'x=1',
      '--input',
      'y=2',
      '--json',
    );
    expect(JSON.stringify(JSON.parse(stdout))).toContain('[0,"-Infinity","-Infinity",0,0,"-Infinity",0,0,0]');
  });

  const mistakes: [string, string[], string, string?][] = [
    ['an unknown mode', ['--mode', 'frward'], '--mode: expected forward, gradients, train', '--mode forward'],
    ['an unknown format', ['--format', 'png'], '--format: expected text, dot, svg'],
    ['a graph too large for values', [...digits.slice(4), '--data.batchSize', '1000', '--values'], 'at most 400 nodes'],
    ['no value for an input', ['--values'], 'input x: f32[1, 2] has no value', '--input x=1'],
    [
      'a misspelt input',
      ['--values', '--input', 'layer.0.wait=1'],
      'no input or parameter layer.0.wait; did you mean layer.0.weight?',
    ],
    ['too few numbers', ['--values', '--input', 'x=1,2,3'], 'x: f32[1, 2] takes 1 or 2 numbers, got 3'],
    ['half a class', ['--values', '--input', 'y=0.5'], 'expected numbers of i32'],
    ['no number', ['--values', '--input', 'x=1,,2'], 'expected numbers of f32'],
    ['an input without values', ['--input', 'x=1'], '--input needs --values'],
    ['two formats at once', ['--json', '--format', 'svg'], '--format needs a file of its own', '--out graph.svg'],
    ['half a batch', ['--batch', '0.5'], '--batch: expected an integer ≥ 1'],
  ];
  it.each(mistakes)('refuses %s', async (_, args, message, remedy) => {
    const model = args.includes('--data.kind') ? ['--model.kind', 'mlp', '--model.hidden', '256'] : tiny;
    const { code, stdout, stderr } = await graph(...model, ...args);
    expect(code).toBe(2);
    expect(stderr).toContain(message);
    // With --json the remedy stands in the object.
    if (remedy !== undefined) expect(stderr + stdout).toContain(remedy);
  });
});

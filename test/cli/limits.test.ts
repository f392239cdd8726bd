import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { partita, workFolder } from './run.ts';

const folder = workFolder();
const image = '--model.size 28 --model.classes 10';
const gpt = '--model.kind gpt --model.vocab 65';

/** Each asks for more than any memory has, and is to be told before it is taken. */
describe('sizes that no memory holds', () => {
  it.each([
    [2, 'model.layers', '≤ 10000', `${gpt} --model.context 16 --model.layers 1000000000`],
    [2, 'model.blocks', '≤ 10000', `--model.kind resnet ${image} --model.blocks 1000000000`],
    [2, 'model.blocks', '≤ 10000', `--model.kind resnet ${image} --model.widths 8,8 --model.blocks 1,1000000000`],
    [2, 'model.convs', '≤ 10000', `--model.kind unet ${image} --model.convs 1000000000`],
    [
      2,
      'model.numLayers',
      '≤ 10000',
      '--model.kind lstm --model.vocab 65 --model.context 8 --model.numLayers 1000000000',
    ],
    [2, 'model.depth', 'cannot be halved 1000000000 times', `--model.kind unet ${image} --model.depth 1000000000`],
  ])('exit %i and name %s: %s', async (code, key, expected, args) => {
    const { code: exit, stderr } = await partita(folder, ['plan', ...args.split(' ')]);
    expect({ exit, stderr }).toEqual({ exit: code, stderr: expect.stringContaining(expected) });
    expect(stderr).toContain(key);
  });

  it('of a list in a file are counted', async () => {
    const model = { kind: 'mlp', inputs: 8, classes: 2, hidden: new Array(10_001).fill(1) };
    writeFileSync(join(folder, 'long.json'), JSON.stringify({ model }));
    const { code, stderr } = await partita(folder, ['plan', 'long.json']);
    expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringContaining('at most 10000 of them') });
    expect(stderr).toContain('model.hidden');
  });

  it.each([
    [
      1,
      'program-too-large',
      '--model.kind mlp --model.inputs 8 --model.classes 4 --batch 1000000 --microbatches 1000000',
    ],
    [
      2,
      'microbatches-range',
      '--model.kind mlp --model.inputs 8 --model.classes 4 --batch 1000000000 --microbatches 1000000000',
    ],
    [2, 'too-many-devices', '--model.kind mlp --model.inputs 8 --model.classes 4 --devices 1000000'],
    [2, 'model-invalid', `${gpt} --model.context 10000000 --model.attention unfused`],
    [2, 'model-invalid', '--model.kind lstm --model.vocab 65 --model.context 1000000000'],
  ])('exit %i with %s', async (code, error, args) => {
    const { code: exit, stdout } = await partita(folder, ['plan', ...args.split(' '), '--json']);
    const told = JSON.parse(stdout).error;
    expect({ exit, code: told.code }).toEqual({ exit: code, code: error });
    expect(`${told.message} ${told.remedy}`).toMatch(
      /--microbatches \d+ or fewer|--devices 65536 at most|--microbatches 32|fewer, larger|causal mask of 10000000 × .* fused attention|at most 65536: cut the sequence/,
    );
  });
});

// What changed its place between versions of the operators. Where a file has it in the other version's place, a reader that
// looks only where its own version does computes something else without a word: onnxruntime refuses such files, and so do we.
import { describe, expect, it } from 'vitest';
import { skipped } from '../../support/onnxruntime.ts';
import { type NodeInput, type NodeModel, ours, theirs } from './runtime-compare.ts';

const x: NodeInput = { dims: [2, 3], data: [-2, -1, 0, 1, 2, 3] };
const number = (value: number): NodeInput => ({ dims: [], data: [value], constant: true });
const integers = (...data: number[]): NodeInput => ({ dtype: 'INT64', dims: [data.length], data, constant: true });
const statistics = [1, 2, 3, 4].map((): NodeInput => ({ dims: [3], data: [1, 2, 3], constant: true }));

const misplaced: readonly (readonly [what: string, model: NodeModel, says: RegExp])[] = [
  [
    'bounds of Clip as attributes',
    { opType: 'Clip', opset: 11, inputs: [x], attributes: { min: { float: 0 }, max: { float: 1 } } },
    /in version 11 of the operators min is input 1/,
  ],
  [
    'a bound of Clip as input',
    { opType: 'Clip', opset: 10, inputs: [x, null, number(1)] },
    /in version 10 of the operators max is an attribute/,
  ],
  [
    'the ratio of Dropout as an attribute',
    { opType: 'Dropout', opset: 12, inputs: [x], attributes: { ratio: { float: 0.3 } } },
    /in version 12 of the operators ratio is input 1/,
  ],
  [
    'the ratio of Dropout as input',
    { opType: 'Dropout', opset: 10, inputs: [x, number(0.3)] },
    /in version 10 of the operators ratio is an attribute/,
  ],
  [
    'the mode of Dropout before there was one',
    { opType: 'Dropout', opset: 10, inputs: [x, null, { dtype: 'BOOL', dims: [], data: [1], constant: true }] },
    /training_mode \(input 2\) came with version 12/,
  ],
  [
    'the value of Pad as an attribute',
    { opType: 'Pad', opset: 13, inputs: [x, integers(0, 1, 0, 0)], attributes: { value: { float: 2 } } },
    /in version 13 of the operators value is input 2/,
  ],
  [
    'the value of Pad as input',
    { opType: 'Pad', opset: 10, inputs: [x, null, number(2)], attributes: { pads: [0, 1, 0, 0] } },
    /in version 10 of the operators value is an attribute/,
  ],
  [
    'axes of Pad',
    { opType: 'Pad', opset: 13, inputs: [x, integers(0, 1, 0, 0), number(2), integers(1, 0)] },
    /axes \(input 3\) came with version 18/,
  ],
  [
    'training_mode of BatchNormalization',
    { opType: 'BatchNormalization', opset: 9, inputs: [x, ...statistics], attributes: { training_mode: 1 } },
    /training_mode came with version 14/,
  ],
  [
    'more parts of Split than outputs',
    { opType: 'Split', opset: 18, inputs: [x], attributes: { axis: 1, num_outputs: 3 }, outputs: ['FLOAT', 'FLOAT'] },
    /num_outputs is 3, and the node has 2/,
  ],
  [
    'more sizes of Split than outputs',
    {
      opType: 'Split',
      opset: 18,
      inputs: [x, integers(1, 1, 1)],
      attributes: { axis: 1 },
      outputs: ['FLOAT', 'FLOAT'],
    },
    /parts \[1, 1, 1\] are not as many as the node's outputs, 2/,
  ],
];

describe('of another version of the operators', () => {
  it.each(misplaced)('%s: refused, and said where it belongs', (_, model, says) => {
    const refusal = expect.objectContaining({ code: 'onnx-node', message: expect.stringMatching(says) });
    expect(() => ours(model, 'training')).toThrow(refusal);
    expect(() => ours(model)).toThrow(refusal);
  });

  // It drops the part that has no output, which we refuse as well: nobody would know that it is gone.
  const accepted = 'more parts of Split than outputs';
  it.skipIf(skipped).each(misplaced.filter(([what]) => what !== accepted))(
    '%s: refused by onnxruntime too',
    async (_, model) => {
      await expect(theirs(model)).rejects.toThrow();
    },
  );
});

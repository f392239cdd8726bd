// What to do about an experiment that is refused, as a sentence that can be followed.
import { describe, expect, it } from 'vitest';
import type { UsageError } from '../../../src/core/errors.ts';
import { listedLinks } from '../../../src/cost/links.ts';
import { parseExperiment } from '../../../src/train/experiment/parse.ts';
import { checkSemantics } from '../../../src/train/experiment/semantics.ts';

const link = { from: 0, to: 1, bandwidth: 1, latency: 0 };

function remedyOf(call: () => unknown): string | undefined {
  try {
    call();
  } catch (error) {
    return (error as UsageError).remedy;
  }
  throw new Error('it was not refused');
}

describe('an experiment is mended by', () => {
  const cases: readonly (readonly [remedy: string, change: object])[] = [
    ['give data.file, the path of a file that is there', { data: { kind: 'file', file: '/no/such' } }],
    ['leave steps or epochs out', { steps: 1, epochs: 1 }],
    ['leave partition.placement out', { devices: 2, partition: { devices: { 'layer.1': 1 }, placement: [0, 1] } }],
    ['leave stagesPerDevice out', { devices: 2, stagesPerDevice: 2, partition: { devices: { 'layer.1': 1 } } }],
    ['give eval one of fraction and data', { eval: { every: 1 } }],
    ['leave sweep.microbatches.1 out', { sweep: { microbatches: [1, 1] } }],
    ['leave sweep.checkpoint.dir out', { sweep: { 'checkpoint.dir': ['a'] } }],
    ['leave links.1 out', { devices: 2, links: [link, link] }],
    ['leave links out', { devices: 1, links: [link] }],
    ['leave links out', { devices: 1, links: [{ ...link, to: 0 }] }],
    ['give links.0 two of devices 0 to 1', { devices: 2, links: [{ ...link, to: 2 }] }],
    ['give links.1 two of devices 0 to 1', { devices: 2, links: [link, { ...link, to: 0 }] }],
    ['a smaller number in stagesPerDevice', { devices: 2, stagesPerDevice: 2 ** 20 }],
    ['name a key of the experiment in place of "zzzzzzzz"', { sweep: { zzzzzzzz: [1] } }],
    [
      'list 3 devices in partition.placement, one a stage',
      { devices: 2, partition: { stages: { 'layer.0': 0, 'layer.1': 1, '*': 2 }, placement: [0, 1] } },
    ],
    ['leave model.vocab or model.inputs out', { model: { kind: 'lstm', vocab: 3, inputs: 3 } }],
    ['--steps 1', { steps: 2, learningRate: { kind: 'values', values: [1] } }],
    [
      '--optimizer.momentum 0.9 --optimizer.dampening 0 --data.mode epochs',
      { optimizer: { kind: 'sgd', nesterov: true }, data: { kind: 'digits', mode: 'fixed' }, eval: { fraction: 0.1 } },
    ],
    [
      '--optimizer.momentum 0.9 --optimizer.dampening 0; make model.width a multiple of heads (2)',
      { optimizer: { kind: 'sgd', nesterov: true }, model: { kind: 'gpt', heads: 2, width: 3, context: 8, layers: 1 } },
    ],
  ];
  it.each(cases)('%s', (remedy, change) => {
    const experiment = { model: { kind: 'mlp' }, data: { kind: 'digits' }, ...change };
    expect(remedyOf(() => checkSemantics(parseExperiment(experiment, 'e.json'), 'e.json'))).toBe(remedy);
  });
});

it.each([
  [0, 'leave links out: there are no two devices'],
  [1, 'leave links out: there are no two devices'],
  [2, 'each link once, between two of devices 0 to 1'],
])('links of %i devices are mended by: %s', (devices, remedy) => {
  expect(remedyOf(() => listedLinks([{ ...link, to: 2 }], devices))).toBe(remedy);
});

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { balancerRatios } from '../../src/partition/baselines/balancers.ts';
import { solvePlacement } from '../../src/partition/methods.ts';
import { readOperatorGraph } from '../../src/partition/read-operator-graph.ts';

/** Public instances, with their licences. */
const own = (path: string): string => fileURLToPath(new URL(`instances/${path}`, import.meta.url));

const pipedream = async (file: string, published: number) => {
  const { problem } = readOperatorGraph(readFileSync(file, 'utf8'), file);
  const { objective } = await solvePlacement(problem, { method: 'pipedream' });
  expect(Math.abs(objective / published - 1)).toBeLessThan(1e-5);
};

describe("PipeDream's baseline on operator graphs, as Tarnawski et al. publish it", () => {
  it.each([
    ['layer/bert24_inference', 17.7899],
    ['layer/resnet50_inference', 39.3981],
    ['layer/resnet50_training', 83.6744],
    ['op/bert_l-3_inference', 37.4557],
    ['op/bert_l-3_training', 122.987],
    ['op/bert_l-6_inference', 65.5647],
    ['op/resnet50_inference', 129.155],
  ])('%s: %d', (name, published) => pipedream(own(`operator-graphs/${name}.json`), published));
});

describe('balancers against the best cut of their own sequence of layers', () => {
  const ratios = (file: string, stages: number) => balancerRatios(readFileSync(file, 'utf8'), file, stages);

  it("torchgpipe's blocks: 1.000 to 1.285", () => {
    expect(ratios(own('layer-profiles/alexnet.txt'), 2).blocks).toBeCloseTo(1.285, 3);
    expect(ratios(own('layer-profiles/gnmt.txt'), 2).blocks).toBeCloseTo(1, 3);
    expect(ratios(own('layer-profiles/resnet18.txt'), 8).blocks).toBeCloseTo(1.223, 3);
  });

  it('all profiles of the folder keep to the published ranges and reach their ends', () => {
    const names = ['alexnet', 'vgg16', 'resnet18', 'resnet50', 'densenet121', 'gnmt'];
    const all = names.flatMap((name) => [2, 4, 8].map((n) => ratios(own(`layer-profiles/${name}.txt`), n)));
    const blocks = all.map((r) => r.blocks);
    expect([Math.min(...blocks), Math.max(...blocks)].map((x) => x.toFixed(3))).toEqual(['1.000', '1.285']);
    expect(Math.max(...all.map((r) => r.parameters)).toFixed(3)).toBe('5.149');
    expect(ratios(own('layer-profiles/resnet50.txt'), 8).parameters.toFixed(3)).toBe('5.149');
  });
});

import { describe, expect, it } from 'vitest';
import { modelOf } from '../../src/nn/models/index.ts';
import { constantName } from '../../src/program/values.ts';

describe('constants of a deep model', () => {
  const gpt = (context: number) =>
    modelOf({ kind: 'gpt', vocab: 11, context, layers: 3, heads: 2, width: 8, attention: 'unfused' }).build(2).graph;
  const masksOf = (context: number) =>
    gpt(context)
      .sources('constant')
      .filter((t) => t.shape.length === 2);

  it('have the same values in memory once, whatever layer and graph they are of', () => {
    const masks = [...masksOf(5), ...masksOf(5)];
    expect(masks.length).toBeGreaterThanOrEqual(6);
    expect(new Set(masks.map((t) => t.node.source!.value)).size).toBe(1);
    expect(new Set(masks.map(constantName)).size).toBe(1);
    expect(constantName(masksOf(6)[0]!)).not.toBe(constantName(masks[0]!));
  });

  it('hide later positions only', () => {
    const values = [...(masksOf(4)[0]!.node.source!.value as Float32Array)];
    const [o, x] = [0, -Infinity];
    expect(values).toEqual([o, x, x, x, o, o, x, x, o, o, o, x, o, o, o, o]);
  });
});

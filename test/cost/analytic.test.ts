import { describe, expect, it } from 'vitest';
import {
  costSeconds,
  defaultDevice,
  defaultLink,
  nodeCost,
  tensorSeconds,
  transferSeconds,
} from '../../src/cost/analytic.ts';
import { analyticCosts, nodeSeconds, slowestLink } from '../../src/cost/model.ts';
import { Graph } from '../../src/graph/graph.ts';
import { add } from '../../src/ops/elementwise.ts';
import { matmul } from '../../src/ops/matmul.ts';
import { reshape } from '../../src/ops/shape.ts';

const device = { flopsPerSecond: 1e9, bytesPerSecond: 1e8, secondsPerKernel: 1e-3, speed: 1 };

describe('analytic cost', () => {
  it('is a roofline: the slower of arithmetic and traffic, and the kernel itself', () => {
    expect(costSeconds({ flops: 1e9, bytes: 1e6 }, device)).toBeCloseTo(1.001, 12);
    expect(costSeconds({ flops: 1e6, bytes: 1e8 }, device)).toBeCloseTo(1.001, 12);
    expect(costSeconds({ flops: 1e9, bytes: 0 }, { ...device, speed: 2 })).toBeCloseTo(0.5005, 12);
  });

  it('takes FLOPs and bytes from the op’s record', () => {
    const graph = new Graph();
    const a = graph.input('a', { shape: [64, 128] });
    const b = graph.input('b', { shape: [128, 32] });
    const product = matmul(a, b);
    const sum = add(product, product);
    expect(nodeCost(product.node)).toEqual({ flops: 2 * 64 * 128 * 32, bytes: 4 * (64 * 128 + 128 * 32 + 64 * 32) });
    expect(nodeSeconds(sum.node, analyticCosts({ device }))).toBeCloseTo((3 * 4 * 64 * 32) / 1e8 + 1e-3, 12);
    // A large product is bound by arithmetic, a sum by traffic.
    const large = matmul(graph.input('c', { shape: [512, 512] }), graph.input('d', { shape: [512, 512] }));
    expect(nodeSeconds(large.node, analyticCosts())).toBeCloseTo(
      (2 * 512 ** 3) / defaultDevice.flopsPerSecond + 0.5e-6,
      12,
    );
  });

  it('charges nothing for sources and reshapes', () => {
    const graph = new Graph();
    const a = graph.input('a', { shape: [4] });
    expect([nodeSeconds(a.node, analyticCosts()), nodeSeconds(reshape(a, [2, 2]).node, analyticCosts())]).toEqual([
      0, 0,
    ]);
  });

  it('reads and writes each byte of a copy, beside what any instruction takes', () => {
    const { instructionSeconds } = analyticCosts({ device: { ...device, speed: 2 } });
    expect(instructionSeconds('wasm')).toBeCloseTo(0.5e-3, 15);
    expect(instructionSeconds('wasm', 1e8)).toBeCloseTo((1e-3 + 2) / 2, 12);
  });

  it('bounds all links of some devices by their worst, each figure by itself', () => {
    const links = [
      { bytesPerSecond: 5, secondsLatency: 1, secondsSend: 7 },
      { bytesPerSecond: 9, secondsLatency: 3 },
      { bytesPerSecond: 1, secondsLatency: 9 },
    ];
    // Between 0 and 1, between 1 and 2, and all others; a device's way to itself is none.
    const costs = analyticCosts({ link: (a, b) => (a === b ? links[2]! : (links[Math.min(a, b)] ?? links[2]!)) });
    expect(slowestLink(costs, [0, 1, 2])).toEqual({ bytesPerSecond: 5, secondsLatency: 3, secondsSend: 7 });
    expect(slowestLink(costs, [1, 2])).toEqual({ bytesPerSecond: 9, secondsLatency: 3, secondsSend: 0 });
    expect(slowestLink(costs, [0])).toEqual(links[2]);
    // Of links that are all the same not every pair is looked at: that would take hours.
    const many = Array.from({ length: 300_000 }, (_, d) => d);
    const model = { bytesPerSecond: 5, secondsLatency: 3, secondsSend: 7 };
    expect(slowestLink(analyticCosts({ link: model }), many)).toEqual(model);
  });

  it('counts a link’s latency once a message', () => {
    const graph = new Graph();
    const a = graph.input('a', { shape: [2000] });
    expect(tensorSeconds(a, defaultLink)).toBeCloseTo(1e-6 + 3e-6, 15);
    expect(transferSeconds(8e9, 3)).toBeCloseTo(1 + 9e-6, 12);
    expect(transferSeconds(0, 0)).toBe(0);
  });
});

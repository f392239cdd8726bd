// The relaxed kernels: the same sources with multiply and add in one instruction, their own bits, the same for every layout.
import { afterEach, describe, expect, it, vi } from 'vitest';
import { kernelsModule } from '../../src/backends/kernels-module.ts';
import { enableRelaxedSimd, hasRelaxedSimd } from '../../src/backends/relaxed-simd.ts';
import { Graph } from '../../src/graph/graph.ts';
import type { SimdVariant } from '../../src/lower/kernel-call.ts';
import { conv2d } from '../../src/nn/conv.ts';
import { tanh } from '../../src/ops/elementwise.ts';
import { matmul } from '../../src/ops/matmul.ts';
import { reshape } from '../../src/ops/shape.ts';
import type { Model } from '../../src/optim/model.ts';
import { makePlan, type Plan } from '../../src/plan/plan.ts';
import { checkSamePlan, readPlanFile, withDecisions, writePlanFile } from '../../src/plan/plan-file.ts';
import { summarizePlan } from '../../src/plan/summary.ts';
import { printPlan } from '../../src/report/plan.ts';
import { Session } from '../../src/train/session.ts';
import { f32, type PlanOverrides, planOf, squaredError, toHex, values } from '../support/models.ts';

/** x [B, 2, 7, 7] → 3×3 convolution → tanh → linear → squared error: odd sizes, so that every tile's edge is met. */
const model: Model = {
  name: 'small net',
  build: (batch) => {
    const graph = new Graph();
    const x = graph.input('x', { shape: [batch, 2, 7, 7] });
    const t = graph.input('t', { shape: [batch, 5] });
    const h = tanh(conv2d(x, 3, { name: 'conv', kernel: 3, padding: 1 }));
    const w = graph.parameter('w', [147, 5], { kind: 'uniform', low: -0.1, high: 0.1 });
    const y = graph.output('y', matmul(reshape(h, [batch, 147]), w));
    return { graph, objective: [{ loss: squaredError(y, t), weight: 1 }] };
  },
};

const plan = (simd: SimdVariant, more: PlanOverrides = {}): Plan => planOf(model, { simd, ...more });
const batch = { x: f32([8, 2, 7, 7], 1), t: f32([8, 5], 2) };

async function train(of: Plan): Promise<{ losses: number[]; bits: string[] }> {
  await using session = await Session.open(of, { seed: 3, transport: 'local' });
  const losses: number[] = [];
  for (let step = 0; step < 3; step++) losses.push((await session.run('train', batch)).loss!);
  return { losses, bits: [...(await session.parameters())].map(([name, t]) => `${name} ${toHex(t)}`).sort() };
}

afterEach(() => {
  vi.restoreAllMocks();
  vi.resetModules();
});

/** A [1, K]·[K, 16] product by the gemm of a build. */
async function product(simd: SimdVariant, a: Float32Array, b: Float32Array): Promise<Float32Array> {
  const memory = new WebAssembly.Memory({ initial: 2, maximum: 2, shared: true });
  const { exports } = new WebAssembly.Instance(await kernelsModule(simd), { env: { memory } });
  const K = a.length;
  new Float32Array(memory.buffer, 0, K).set(a);
  new Float32Array(memory.buffer, 1024, 16 * K).set(b);
  (exports.gemm as (...args: number[]) => void)(1, 16, K, 0, K, 1, 1024, 16, 1, 32768, 16, 0, 65536);
  return new Float32Array(memory.buffer, 32768, 16).slice();
}

describe('relaxed kernels', () => {
  it('run where V8 has the instructions, if need be behind its flag', () => {
    expect(enableRelaxedSimd()).toBe(true);
    expect(hasRelaxedSimd()).toBe(true);
  });

  it('multiply and add in one instruction: rounded once or twice, nothing else', async () => {
    // (1 + 2⁻¹²)² = 1 + 2⁻¹¹ + 2⁻²⁴, whose last term rounding drops.
    const a = Float32Array.of(1 + 2 ** -11, 1 + 2 ** -12);
    const b = new Float32Array(32).fill(-1, 0, 16).fill(1 + 2 ** -12, 16);
    const [strict, relaxed] = [await product('strict', a, b), await product('relaxed', a, b)];
    expect([...strict]).toEqual(Array(16).fill(0));
    expect([0, 2 ** -24]).toContain(relaxed[0]);
    expect(new Set(relaxed).size).toBe(1);
    // On a processor with fused multiply-add, which all x64 of the last decade and all ARM64 are.
    expect(relaxed[0]).toBe(2 ** -24);
  });

  it('train to the same figures within rounding, with the same bits on every layout', async () => {
    const strict = await train(plan('strict'));
    const relaxed = await train(plan('relaxed'));
    expect(relaxed.bits).not.toEqual(strict.bits);
    for (const [i, loss] of relaxed.losses.entries()) expect(Math.abs(loss / strict.losses[i]! - 1)).toBeLessThan(1e-5);
    const layouts: PlanOverrides[] = [{ devices: 2 }, { devices: 2, recompute: 'stage' }];
    for (const layout of layouts) expect(await train(plan('relaxed', layout))).toEqual(relaxed);
    const parts = await train(plan('relaxed', { microbatches: 2 }));
    expect(await train(plan('relaxed', { microbatches: 2, devices: 2, schedule: 'gpipe' }))).toEqual(parts);
  });

  it('run in threads too', async () => {
    const local = await train(plan('relaxed', { devices: 2 }));
    await using session = await Session.open(plan('relaxed', { devices: 2 }), { seed: 3 });
    for (let step = 0; step < 3; step++) await session.run('train', batch);
    const bits = [...(await session.parameters())].map(([name, t]) => `${name} ${toHex(t)}`).sort();
    expect(bits).toEqual(local.bits);
  });

  it('are what the plan says: printed, in its summary and its file', () => {
    const relaxed = plan('relaxed', { devices: 2 });
    expect(summarizePlan(relaxed).simd).toBe('relaxed');
    expect(printPlan(relaxed)).toContain('relaxed SIMD');
    const file = readPlanFile(writePlanFile(relaxed, null), 'plan.json');
    expect(file.simd).toBe('relaxed');
    const again = makePlan(withDecisions(plan('strict', { devices: 2 }).request, file));
    checkSamePlan(again, file, 'plan.json');
    expect(again.request.simd).toBe('relaxed');
    const strict = readPlanFile(writePlanFile(plan('strict'), null), 'plan.json');
    expect(strict.simd).toBeUndefined();
    expect(withDecisions(relaxed.request, strict).simd).toBe('strict');
    expect(printPlan(plan('strict'))).not.toContain('SIMD');
  });

  it('are refused where the host has no such instructions', async () => {
    vi.spyOn(WebAssembly, 'validate').mockReturnValue(false);
    vi.resetModules();
    const fresh = await import('../../src/backends/kernels-module.ts');
    await expect(fresh.kernelsModule('relaxed')).rejects.toMatchObject({
      code: 'relaxed-simd',
      remedy: expect.stringContaining('--simd strict'),
    });
    await expect(fresh.kernelsModule('strict')).resolves.toBeInstanceOf(WebAssembly.Module);
  });

  it('have sums of products in the order of the strict ones: exact figures agree to the bit', async () => {
    // Small integers: every product and sum is exact, in any build.
    const a = values(300, 5).map((v) => Math.round(8 * v));
    const b = values(16 * 300, 6).map((v) => Math.round(8 * v));
    expect(await product('relaxed', a, b)).toEqual(await product('strict', a, b));
  });
});

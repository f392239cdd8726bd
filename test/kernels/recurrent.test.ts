// Cells of recurrent layers against their formulas in f32, step by step in the order the kernels state: equal to the bit,
// with σ and tanh by the elementwise kernels, whose errors math.test.ts knows.
import { describe, expect, it } from 'vitest';
import { f32, normal, run } from './harness.ts';

const r = Math.fround;
const mul = (a: number, b: number): number => r(a * b);
const add = (a: number, b: number): number => r(a + b);
const sub = (a: number, b: number): number => r(a - b);

/** An elementwise kernel as a function of one number. */
const scalar = (kernel: 'sigmoid' | 'tanh') => {
  const known = new Map<number, number>();
  return (x: number): number => {
    let y = known.get(x);
    if (y === undefined) known.set(x, (y = run(kernel, 1, { in: Float32Array.of(x) }, f32(1))[0]![0]!));
    return y;
  };
};
const sigmoid = scalar('sigmoid');
const tanh = scalar('tanh');

/** dy through a gate of value y. */
const throughSigmoid = (dy: number, y: number): number => mul(mul(dy, y), sub(1, y));
const throughTanh = (dy: number, y: number): number => mul(dy, sub(1, mul(y, y)));

/** Sizes with whole vectors, with tails of one to three, and less than one vector. */
const sizes = [1, 2, 3, 4, 5, 7, 8, 11, 16, 18] as const;
const rows = 3;
/** Arrays of f32 by name, drawn alike in every test. */
const draw = (length: number, seed: number): Float32Array => normal(length, seed);
/** Values of gates: within (0, 1). */
const gateValues = (length: number, seed: number): Float32Array =>
  draw(length, seed).map((v) => 1 / (1 + Math.exp(-v)));

const each = (
  size: number,
  visit: (at: number, place: (block: number, blocks: number) => number, j: number) => void,
) => {
  for (let n = 0; n < rows; n++) {
    for (let j = 0; j < size; j++) visit(n * size + j, (block, blocks) => (n * blocks + block) * size + j, j);
  }
};
const same = (got: ArrayLike<number>, expected: Float32Array, what: string) => {
  const at = expected.findIndex((v, i) => !Object.is(v, got[i]) && !(v === 0 && got[i] === 0));
  if (at >= 0) throw new Error(`${what}: element ${at} is ${got[at]}, expected ${expected[at]}`);
  expect(got.length, what).toBe(expected.length);
};

/** Blocks i, o, f, g in ONNX's order and in PyTorch's. */
const orders = [
  [0, 1, 2, 3],
  [0, 3, 1, 2],
] as const;

describe.each(sizes)('lstmCell, %i units', (size) => {
  const wide = rows * size * 4;
  const narrow = rows * size;
  it.each([false, true])('forward; peepholes: %s', (peepholes) => {
    for (const [i, o, f, g] of orders) {
      const [gates, before, p] = [draw(wide, 1), draw(narrow, 2), draw(3 * size, 3)];
      const [values, c, h] = [new Float32Array(wide), new Float32Array(narrow), new Float32Array(narrow)];
      each(size, (at, place, j) => {
        const pre = (block: number) => gates[place(block, 4)]!;
        const seen = (x: number, k: number, cell: number) => (peepholes ? add(x, mul(p[k * size + j]!, cell)) : x);
        const input = sigmoid(seen(pre(i), 0, before[at]!));
        const forget = sigmoid(seen(pre(f), 2, before[at]!));
        const candidate = tanh(pre(g));
        c[at] = add(mul(forget, before[at]!), mul(input, candidate));
        const out = sigmoid(seen(pre(o), 1, c[at]));
        h[at] = mul(out, tanh(c[at]));
        values[place(i, 4)] = input;
        values[place(o, 4)] = out;
        values[place(f, 4)] = forget;
        values[place(g, 4)] = candidate;
      });
      const operands = [peepholes ? { in: p } : -1, { inout: gates }, { in: before }, f32(narrow), f32(narrow)];
      const [gotGates, gotC, gotH] = run('lstmCell', rows, size, i, o, f, g, ...operands);
      same(gotGates!, values, 'gates');
      same(gotC!, c, 'c');
      same(gotH!, h, 'h');
    }
  });

  it.each([
    [false, true, true, true],
    [true, true, true, true],
    [true, true, false, false],
    [false, false, true, false],
    [true, false, false, true],
  ])('backward; peepholes: %s, cotangents of h: %s, c: %s, gates: %s', (peepholes, ofH, ofC, ofGates) => {
    for (const [i, o, f, g] of orders) {
      const [gates, before, c] = [gateValues(wide, 1), draw(narrow, 2), draw(narrow, 3)];
      const [p, dH, dC, dGates] = [draw(3 * size, 4), draw(narrow, 5), draw(narrow, 6), draw(wide, 7)];
      const [sentH, sentC] = [draw(narrow, 8), draw(narrow, 9)];
      const [dPre, dc] = [new Float32Array(wide), new Float32Array(narrow)];
      each(size, (at, place, j) => {
        const gate = (block: number) => gates[place(block, 4)]!;
        const own = (x: number, block: number) => (ofGates ? add(x, dGates[place(block, 4)]!) : x);
        const seen = (x: number, k: number, d: number) => (peepholes ? add(x, mul(p[k * size + j]!, d)) : x);
        const squashed = tanh(c[at]!);
        const hidden = ofH ? add(sentH[at]!, dH[at]!) : sentH[at]!;
        const dO = throughSigmoid(own(mul(hidden, squashed), o), gate(o));
        const arrived = ofC ? add(sentC[at]!, dC[at]!) : sentC[at]!;
        const cell = seen(add(arrived, throughTanh(mul(hidden, gate(o)), squashed)), 1, dO);
        const dI = throughSigmoid(own(mul(cell, gate(g)), i), gate(i));
        const dF = throughSigmoid(own(mul(cell, before[at]!), f), gate(f));
        dPre[place(i, 4)] = dI;
        dPre[place(o, 4)] = dO;
        dPre[place(f, 4)] = dF;
        dPre[place(g, 4)] = throughTanh(own(mul(cell, gate(i)), g), gate(g));
        dc[at] = seen(seen(mul(cell, gate(f)), 0, dI), 2, dF);
      });
      const [gotDh, gotDc, gotDPre] = run(
        'lstmCellGrad',
        ...[rows, size, i, o, f, g],
        ...[peepholes ? { in: p } : -1, { in: gates }, { in: before }, { in: c }],
        ...[ofH ? { in: dH } : -1, ofC ? { in: dC } : -1, ofGates ? { in: dGates } : -1],
        ...[{ inout: sentH }, { inout: sentC }, f32(wide)],
      );
      same(gotDh!, sentH, 'dh is left to the product');
      same(gotDc!, dc, 'dc');
      same(gotDPre!, dPre, 'dPre');
    }
  });
});

describe.each(sizes)('GRU cells, %i units', (size) => {
  const wide = rows * size * 3;
  const narrow = rows * size;
  const n = 2;
  const blend = (z: number, candidate: number, before: number): number =>
    add(mul(sub(1, z), candidate), mul(z, before));

  it.each([
    [0, 1],
    [1, 0],
  ])('reset after the product, forward; z: block %i', (z, reset) => {
    const [gates, product, before, bias] = [draw(wide, 1), draw(narrow, 2), draw(narrow, 3), draw(size, 4)];
    const [values, q, h] = [new Float32Array(wide), new Float32Array(narrow), new Float32Array(narrow)];
    each(size, (at, place, j) => {
      const [zGate, rGate] = [sigmoid(gates[place(z, 3)]!), sigmoid(gates[place(reset, 3)]!)];
      q[at] = add(product[at]!, bias[j]!);
      const candidate = tanh(add(gates[place(n, 3)]!, mul(rGate, q[at])));
      h[at] = blend(zGate, candidate, before[at]!);
      values[place(z, 3)] = zGate;
      values[place(reset, 3)] = rGate;
      values[place(n, 3)] = candidate;
    });
    const operands = [{ in: bias }, { inout: gates }, { inout: product }, { in: before }, f32(narrow)];
    const [gotGates, gotQ, gotH] = run('gruCell', rows, size, z, reset, ...operands);
    same(gotGates!, values, 'gates');
    same(gotQ!, q, 'product');
    same(gotH!, h, 'h');
  });

  it.each([
    [0, 1, true, true, true],
    [1, 0, true, false, false],
    [0, 1, false, true, false],
    [1, 0, false, false, true],
  ])(
    'reset after the product, backward; z: block %i, r: %i, cotangents of h: %s, gates: %s, product: %s',
    (z, reset, ofH, ofGates, ofProduct) => {
      const [gates, product, before] = [gateValues(wide, 1), draw(narrow, 2), draw(narrow, 3)];
      const [dH, dGates, dProduct, sent] = [draw(narrow, 4), draw(wide, 5), draw(narrow, 6), draw(narrow, 7)];
      const [dPre, dq, dh] = [new Float32Array(wide), new Float32Array(narrow), new Float32Array(narrow)];
      each(size, (at, place) => {
        const gate = (block: number) => gates[place(block, 3)]!;
        const own = (x: number, block: number) => (ofGates ? add(x, dGates[place(block, 3)]!) : x);
        const hidden = ofH ? add(sent[at]!, dH[at]!) : sent[at]!;
        const inner = throughTanh(own(mul(hidden, sub(1, gate(z))), n), gate(n));
        dPre[place(z, 3)] = throughSigmoid(own(mul(hidden, sub(before[at]!, gate(n))), z), gate(z));
        dPre[place(reset, 3)] = throughSigmoid(own(mul(inner, product[at]!), reset), gate(reset));
        dPre[place(n, 3)] = inner;
        dq[at] = ofProduct ? add(mul(inner, gate(reset)), dProduct[at]!) : mul(inner, gate(reset));
        dh[at] = mul(hidden, gate(z));
      });
      const [gotDh, gotDPre, gotDq] = run(
        'gruCellGrad',
        ...[rows, size, z, reset, { in: gates }, { in: product }, { in: before }],
        ...[ofH ? { in: dH } : -1, ofGates ? { in: dGates } : -1, ofProduct ? { in: dProduct } : -1],
        ...[{ inout: sent }, f32(wide), f32(narrow)],
      );
      same(gotDh!, dh, 'dh');
      same(gotDPre!, dPre, 'dPre');
      same(gotDq!, dq, 'dq');
    },
  );

  it.each([
    [0, 1],
    [1, 0],
  ])('reset before the product, forward in two halves; z: block %i', (z, reset) => {
    const [gates, before] = [draw(wide, 1), draw(narrow, 2)];
    const [values, u, h] = [gates.slice(), new Float32Array(narrow), new Float32Array(narrow)];
    each(size, (at, place) => {
      for (const block of [z, reset]) values[place(block, 3)] = sigmoid(gates[place(block, 3)]!);
      u[at] = mul(values[place(reset, 3)]!, before[at]!);
    });
    const [half, gotU] = run('gruGates', rows, size, z, reset, { inout: gates }, { in: before }, f32(narrow));
    same(half!, values, 'gates, the candidate as it was');
    same(gotU!, u, 'u');

    each(size, (at, place) => {
      values[place(n, 3)] = tanh(gates[place(n, 3)]!);
      h[at] = blend(values[place(z, 3)]!, values[place(n, 3)]!, before[at]!);
    });
    const [whole, gotH] = run('gruBlend', rows, size, z, { inout: half! }, { in: before }, f32(narrow));
    same(whole!, values, 'gates');
    same(gotH!, h, 'h');
  });

  it.each([
    [0, 1, true, true],
    [1, 0, true, false],
    [0, 1, false, true],
  ])(
    'reset before the product, backward in two halves; z: block %i, r: %i, cotangents of h: %s, gates: %s',
    (z, reset, ofH, ofGates) => {
      const [gates, before] = [gateValues(wide, 1), draw(narrow, 2)];
      const [dH, dGates, sent] = [draw(narrow, 3), draw(wide, 4), draw(narrow, 5)];
      // Block r holds the cotangent of u when the second half begins; the first leaves it alone.
      const du = draw(wide, 6);
      const [dPre, dh] = [du.slice(), new Float32Array(narrow)];
      const own = (x: number, at: number) => (ofGates ? add(x, dGates[at]!) : x);
      each(size, (at, place) => {
        const gate = (block: number) => gates[place(block, 3)]!;
        const hidden = ofH ? add(sent[at]!, dH[at]!) : sent[at]!;
        const dZ = mul(hidden, sub(before[at]!, gate(n)));
        dPre[place(z, 3)] = throughSigmoid(own(dZ, place(z, 3)), gate(z));
        dPre[place(n, 3)] = throughTanh(own(mul(hidden, sub(1, gate(z))), place(n, 3)), gate(n));
        dh[at] = mul(hidden, gate(z));
      });
      const operands = [{ in: gates }, { in: before }, ofH ? { in: dH } : -1, ofGates ? { in: dGates } : -1];
      const [halfDh, half] = run('gruBlendGrad', rows, size, z, ...operands, { inout: sent }, { inout: du });
      same(halfDh!, dh, 'dh');
      same(half!, dPre, 'dPre');

      each(size, (at, place) => {
        const gate = gates[place(reset, 3)]!;
        const back = dPre[place(reset, 3)]!;
        dh[at] = add(dh[at]!, mul(back, gate));
        dPre[place(reset, 3)] = throughSigmoid(own(mul(back, before[at]!), place(reset, 3)), gate);
      });
      const [gotDh, gotDPre] = run(
        'gruGatesGrad',
        ...[rows, size, reset, { in: gates }, { in: before }, ofGates ? { in: dGates } : -1],
        ...[{ inout: halfDh! }, { inout: half! }],
      );
      same(gotDh!, dh, 'dh');
      same(gotDPre!, dPre, 'dPre');
    },
  );
});

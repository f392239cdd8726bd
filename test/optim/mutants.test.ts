/**
 * Deliberate mistakes in the sources of optimizers, clipping and oneCycle, each of which PyTorch's values must show. A
 * mistake is an edit of the source's text, so it breaks the very code that is tested; an edit whose text is not found (once)
 * fails, so the list follows the code.
 *
 * Formulas are bundled with the mistake and played in f64; kernels are compiled with it and played as lowering calls them.
 */
import { mkdtempSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import asc from 'assemblyscript/asc';
import { build } from 'esbuild';
import { describe, expect, it } from 'vitest';
import { Executor } from '../conformance/executor.ts';
import { deviations, inReference, trainingGraph, updatesAlone } from './play.ts';

type Edit = readonly [from: string, to: string];
interface Mutant {
  readonly file: string;
  readonly mistake: string;
  readonly edits: readonly Edit[];
}
const mutant = (file: string, mistake: string, ...edits: Edit[]): Mutant => ({ file, mistake, edits });

const root = fileURLToPath(new URL('../../', import.meta.url));

async function mutated({ file, edits }: Mutant): Promise<string> {
  let text = await readFile(root + file, 'utf8');
  for (const [from, to] of edits) {
    expect(text.split(from).length - 1, `${file} holds ${from} once`).toBe(1);
    text = text.replace(from, () => to);
  }
  return text;
}

const [sgd, adam, adagrad, adadelta, rmsprop] = ['sgd', 'adam', 'adagrad', 'adadelta', 'rmsprop'].map(
  (name) => `src/ops/${name}-update.ts`,
) as [string, string, string, string, string];

const formulas: readonly Mutant[] = [
  mutant(sgd, 'dampening at the first step', ['first ? d : momentum!', 'momentum!']),
  mutant(sgd, 'no dampening', ['(1 - attrs.dampening) * d', 'd']),
  mutant(sgd, 'nesterov missing', ['attrs.nesterov ? d + momentum! * next : next', 'next']),
  mutant(sgd, 'nesterov with the buffer of before', ['d + momentum! * next : next', 'd + momentum! * buf! : next']),
  mutant(sgd, 'weight decay subtracted', ['g + attrs.weightDecay * w', 'g - attrs.weightDecay * w']),
  mutant(adam, 'eps inside the root', ['Math.sqrt(top) / correction2 + eps', 'Math.sqrt(top + eps) / correction2']),
  mutant(adam, 'eps before the correction', [
    'Math.sqrt(top) / correction2 + eps',
    '(Math.sqrt(top) + eps) / correction2',
  ]),
  mutant(adam, 'no correction of m', ['lr / correction1', 'lr']),
  mutant(adam, 'no correction of v', ['Math.sqrt(top) / correction2', 'Math.sqrt(top)']),
  mutant(
    adam,
    'L2 for decoupled decay and the reverse',
    ['decoupled ? g :', '!decoupled ? g :'],
    ['decoupled ? w * (1 - lr * weightDecay)', '!decoupled ? w * (1 - lr * weightDecay)'],
  ),
  mutant(adam, 'decoupled decay without the rate', ['(1 - lr * weightDecay)', '(1 - weightDecay)']),
  mutant(adam, 'decoupled decay in the gradient too', ['decoupled ? g :', 'decoupled ? g + weightDecay * w :']),
  mutant(adam, 'amsgrad without memory', ['Math.max(vmax!, v1)', 'v1']),
  mutant(
    adam,
    'amsgrad on the corrected v',
    ['Math.max(vmax!, v1)', 'Math.max(vmax!, v1 / correction2 ** 2)'],
    ['Math.sqrt(top) / correction2', 'Math.sqrt(top) / (amsgrad ? 1 : correction2)'],
  ),
  mutant(adam, 'v of the gradient, not its square', ['(1 - beta2) * d * d', '(1 - beta2) * d']),
  mutant(adam, 'beta2 and 1 − beta2 swapped', ['beta2 * v! + (1 - beta2) * d * d', '(1 - beta2) * v! + beta2 * d * d']),
  mutant('src/optim/adam.ts', 'steps counted from 0', ['wholePower(beta1, step + 1)', 'wholePower(beta1, step)']),
  mutant('src/optim/adam.ts', 'v corrected without the root', [
    'Math.sqrt(1 - wholePower(beta2, step + 1))',
    '1 - wholePower(beta2, step + 1)',
  ]),
  mutant('src/optim/adam.ts', 'correction by another beta1 than the cycled', [
    'wholePower(beta1, step + 1)',
    'wholePower(ownBeta1, step + 1)',
  ]),
  mutant('src/optim/adam.ts', 'beta1 that is not cycled', [
    '      beta1,\n      1 - beta1,',
    '      ownBeta1,\n      1 - ownBeta1,',
  ]),
  mutant('src/optim/adam.ts', 'Adam decays by default', ['decoupled ? 1e-2 : 0', '1e-2']),
  mutant('src/optim/adam.ts', 'AdamW does not decay by default', ['decoupled ? 1e-2 : 0', '0']),
  mutant(adagrad, 'eps inside the root', ['Math.sqrt(total) + eps', 'Math.sqrt(total + eps)']),
  mutant(adagrad, 'the sum without this step', ['Math.sqrt(total)', 'Math.sqrt(sum!)']),
  mutant(adagrad, 'weight decay left out of the sum', ['sum! + d * d', 'sum! + g * g']),
  mutant('src/optim/adagrad.ts', 'lrDecay off by one', ['1 + step * lrDecay', '1 + (step + 1) * lrDecay']),
  mutant('src/optim/adagrad.ts', 'lrDecay as a power', ['lr / (1 + step * lrDecay)', 'lr * (1 - lrDecay) ** step']),
  mutant('src/optim/adagrad.ts', 'the sum starts at 0', ['value: initialAccumulatorValue', 'value: 0']),
  mutant(adadelta, 'rho and 1 − rho swapped', ['rho * v! + (1 - rho) * d * d', '(1 - rho) * v! + rho * d * d']),
  mutant(adadelta, 'rho and 1 − rho swapped for u', ['rho * u! + (1 - rho)', '(1 - rho) * u! + rho']),
  mutant(adadelta, 'eps outside the root of v', ['Math.sqrt(v1 + eps)', '(Math.sqrt(v1) + eps)']),
  mutant(adadelta, 'eps outside the root of u', ['Math.sqrt(u! + eps)', '(Math.sqrt(u!) + eps)']),
  mutant(adadelta, 'v of the step before', ['Math.sqrt(v1 + eps)', 'Math.sqrt(v! + eps)']),
  mutant(adadelta, 'u collects the scaled step', ['(1 - rho) * delta * delta', '(1 - rho) * (lr! * delta) ** 2']),
  mutant(adadelta, 'no rate', ['w - lr! * delta', 'w - delta']),
  mutant(rmsprop, 'eps inside the root', ['Math.sqrt(variance) + eps', 'Math.sqrt(variance + eps)']),
  mutant(rmsprop, 'centered without the mean', ['v1 - average[0]! ** 2', 'v1']),
  mutant(rmsprop, 'centered by the mean, not its square', ['average[0]! ** 2', 'average[0]!']),
  mutant(rmsprop, 'the mean of the step before', ['average[0]! ** 2', 'more[0]! ** 2']),
  mutant(rmsprop, 'alpha and 1 − alpha swapped', [
    'alpha * v! + (1 - alpha) * d * d',
    '(1 - alpha) * v! + alpha * d * d',
  ]),
  mutant(rmsprop, 'alpha and 1 − alpha swapped for the mean', [
    'alpha * more[0]! + (1 - alpha) * d',
    '(1 - alpha) * more[0]! + alpha * d',
  ]),
  mutant(
    rmsprop,
    'the rate inside the buffer',
    ['momentum! * more.at(-1)! + scaled', 'momentum! * more.at(-1)! + lr! * scaled'],
    ['w - lr! * step', 'w - (hasBuffer ? 1 : lr!) * step'],
  ),
  mutant(rmsprop, 'no momentum', ['hasBuffer ? momentum! * more.at(-1)! + scaled', 'hasBuffer ? scaled']),
  mutant('src/optim/rmsprop.ts', 'momentum that is not cycled', ['[lr, mu]', '[lr, momentum]']),
  mutant('src/optim/sgd.ts', 'momentum that is not cycled', [
    'step === 0 ? 1 : 0, mu]',
    'step === 0 ? 1 : 0, momentum]',
  ]),
  mutant('src/optim/optimizer.ts', 'noDecay not heard', ['noDecay.includes(parameter.name) ? 0 :', 'false ? 0 :']),
  mutant('src/ops/clip-factor.ts', 'no 1e-6', ['(Math.sqrt(total) + epsilon)', 'Math.sqrt(total)']),
  mutant('src/ops/clip-factor.ts', 'small gradients are scaled up', [
    'Math.min(1, maxNorm / (Math.sqrt(total) + epsilon))',
    'maxNorm / (Math.sqrt(total) + epsilon)',
  ]),
  mutant('src/ops/clip-factor.ts', 'the square of the norm', ['Math.sqrt(total)', 'total']),
  mutant('src/optim/training-graph.ts', 'the norm of each parameter by itself', [
    'gradients.get(p.name)!, { hyper, factor })',
    'gradients.get(p.name)!, { hyper, factor: clip && clippingFactor([squares[parameters.indexOf(p)]!], clip, at) })',
  ]),
  mutant('src/optim/training-graph.ts', 'no clipping', ['{ hyper, factor })', '{ hyper })']),
  mutant('src/ops/update-record.ts', 'weight decay before clipping', [
    'factor * g[i]!, state, hyper, attrs)',
    'factor * g[i]!, state, hyper, { ...attrs, weightDecay: factor * ((attrs as Attrs).weightDecay as number) })',
  ]),
  mutant('src/train/one-cycle.ts', 'the top half a step late', [
    'pctStart * totalSteps - 1',
    'pctStart * totalSteps - 0.5',
  ]),
  mutant('src/train/one-cycle.ts', 'the end one step late', ['const last = totalSteps - 1', 'const last = totalSteps']),
  mutant('src/train/one-cycle.ts', 'the last rate over maxLr', ['initial / finalDivFactor', 'maxLr / finalDivFactor']),
  mutant('src/train/one-cycle.ts', 'always a cosine', ["anneal === 'cos' ?", 'true ?']),
  mutant('src/train/one-cycle.ts', 'momentum rises with the rate', [
    'cycle(maxMomentum, baseMomentum, maxMomentum)',
    'cycle(baseMomentum, maxMomentum, baseMomentum)',
  ]),
  mutant('src/core/portable-math.ts', 'half a cosine twice as fast', ['cosTurn((t / 2) % 1)', 'cosTurn(t % 1)']),
];

const kernel = (mistake: string, ...edits: Edit[]): Mutant => mutant('workers/kernels/optim.ts', mistake, ...edits);
/** Edits of a kernel's own function: texts that stand in several are told apart by the line before. */
const kernels: readonly Mutant[] = [
  kernel('decay clipped', [
    'return decays ? f32x4.add(d, f32x4.mul(decay, weight)) : d;',
    'return decays ? f32x4.add(d, f32x4.mul(factor, f32x4.mul(decay, weight))) : d;',
  ]),
  kernel('no decay', ['return decays ? f32x4.add(d, f32x4.mul(decay, weight)) : d;', 'return d;']),
  kernel('no clipping', ['clip == NONE ? f32x4.splat(1) : v128.load32_splat(clip)', 'f32x4.splat(1)']),
  kernel('a running mean with its parts swapped', [
    'f32x4.add(f32x4.mul(keep, old), f32x4.mul(take, x))',
    'f32x4.add(f32x4.mul(take, old), f32x4.mul(keep, x))',
  ]),
  kernel('sgd: dampening at the first step', ['const b = first ? d : blend', 'const b = blend']),
  kernel('sgd: nesterov missing', ['d = nesterov ? f32x4.add(d, f32x4.mul(mu, b)) : b;', 'd = b;']),
  kernel('adam: eps inside the root', ['f32x4.add(f32x4.sqrt(top), eps)', 'f32x4.sqrt(f32x4.add(top, eps))']),
  kernel('adam: eps before the correction', ['<f32>(<f64>eps * root)', 'eps']),
  kernel('adam: no correction of m', ['<f64>lr / <f64>load<f32>(h, 4)', '<f64>lr']),
  kernel('adam: no correction of v', ['const root = <f64>load<f32>(h, 8);', 'const root: f64 = 1;']),
  kernel('adam: amsgrad without memory', ['top = f32x4.max(get(vmax, r), v1);', 'top = v1;']),
  kernel('adam: decay never decoupled', [
    'const hasL2 = weightDecay != 0 && decoupled == 0;',
    'const hasL2 = weightDecay != 0;',
  ]),
  kernel('adam: decoupled decay without the rate', ['1 - <f64>lr * <f64>weightDecay', '1 - <f64>weightDecay']),
  kernel('adagrad: eps inside the root', ['f32x4.add(f32x4.sqrt(s), eps)', 'f32x4.sqrt(f32x4.add(s, eps))']),
  kernel('adagrad: the sum forgotten', ['f32x4.add(get(sum, r), f32x4.mul(d, d))', 'f32x4.mul(d, d)']),
  kernel('adadelta: eps outside the root', ['f32x4.sqrt(f32x4.add(v1, eps))', 'f32x4.add(f32x4.sqrt(v1), eps)']),
  kernel('adadelta: v for u', ['f32x4.sqrt(f32x4.add(u0, eps))', 'f32x4.sqrt(f32x4.add(v1, eps))']),
  kernel('adadelta: u of the gradient', ['f32x4.mul(delta, delta)', 'f32x4.mul(d, d)']),
  kernel('rmsprop: eps inside the root', [
    'f32x4.add(f32x4.sqrt(variance), eps)',
    'f32x4.sqrt(f32x4.add(variance, eps))',
  ]),
  kernel('rmsprop: centered without the mean', ['f32x4.sub(v1, f32x4.mul(a1, a1))', 'v1']),
  kernel('rmsprop: no momentum', ['step = f32x4.add(f32x4.mul(mu, get(buf, r)), step);', '']),
  kernel('clip: no 1e-6', ['(sqrt<f64>(total) + 1e-6)', 'sqrt<f64>(total)']),
  kernel('clip: small gradients are scaled up', [
    'min<f64>(1, maxNorm / (sqrt<f64>(total) + 1e-6))',
    '(maxNorm / (sqrt<f64>(total) + 1e-6))',
  ]),
  kernel('clip: the square of the norm', ['(sqrt<f64>(total) + 1e-6)', '(total + 1e-6)']),
];

/** The source of the play with one file's text in place of its own, loaded. */
async function bundled(file: string, text: string): Promise<typeof import('./play.ts')> {
  const { outputFiles } = await build({
    entryPoints: [`${root}test/optim/play.ts`],
    bundle: true,
    write: false,
    format: 'esm',
    platform: 'node',
    plugins: [
      {
        name: 'mutant',
        setup: (on) =>
          on.onLoad({ filter: /\.ts$/ }, ({ path }) =>
            path === root + file ? { contents: text, loader: 'ts' } : undefined,
          ),
      },
    ],
  });
  const path = join(mkdtempSync(join(tmpdir(), 'partita-mutant-')), 'play.mjs');
  writeFileSync(path, outputFiles[0]!.contents);
  return import(/* @vite-ignore */ path);
}

/** The module of the update kernels alone. */
async function compiled(text: string): Promise<WebAssembly.Module> {
  const folder = 'workers/kernels/';
  let binary: Uint8Array | undefined;
  const { error, stderr } = await asc.main(
    [`${folder}optim.ts`, '-o', 'out.wasm', '--enable', 'simd,threads', '--importMemory', '--noExportMemory']
      .concat(['--sharedMemory', '--maximumMemory', '65536', '--runtime', 'stub', '--noAssert'])
      .concat(['--uncheckedBehavior', 'always', '-O1']),
    {
      readFile: (name) => (name === `${folder}optim.ts` ? text : readFile(root + name, 'utf8').catch(() => null)),
      writeFile: (_, contents) => {
        binary = contents as Uint8Array;
      },
      listFiles: () => [],
    },
  );
  if (error || !binary) throw new Error(`${error} ${stderr}`);
  return new WebAssembly.Module(binary as Uint8Array<ArrayBuffer>);
}

describe('formulas', () => {
  it('are PyTorch’s without a mistake', async () => {
    expect([...deviations(trainingGraph, inReference)]).toEqual([]);
    expect([...(await bundled('none', '')).ownDeviations()]).toEqual([]);
  });
  it.each(formulas.map((m) => [m.file, m.mistake, m] as const))('%s: %s', async (file, _, m) => {
    const { ownDeviations } = await bundled(file, await mutated(m));
    expect(ownDeviations().next().value).toBeDefined();
  });
});

describe('kernels', () => {
  const found = async (text: string): Promise<Generator<string>> => {
    const executor = await Executor.create('wasm', await compiled(text));
    return deviations(updatesAlone, (wanted, feeds) => executor.run(wanted, feeds));
  };
  it('are PyTorch’s without a mistake', async () => {
    expect([...(await found(await mutated(kernel('none'))))]).toEqual([]);
  });
  it.each(kernels.map((m) => [m.mistake, m] as const))('%s', async (_, m) => {
    expect((await found(await mutated(m))).next().value).toBeDefined();
  });
});

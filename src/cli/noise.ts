import { UsageError } from '../core/errors.ts';
import type { HostTensor } from '../core/types.ts';
import type { RawTensor } from '../formats/raw-tensor.ts';
import { type GradientNoise, gradientNoiseOf, noiseRequest } from '../train/noise.ts';
import { checkPairs, type PairEstimate, type SizePair } from '../train/noise-statistics.ts';
import type { RunResult } from '../train/session.ts';
import { runDerivation } from './derivative.ts';
import { type Invocation, textOf } from './invocation.ts';

const secondsBetweenLines = 3;

export function run(invocation: Invocation): Promise<number> {
  const pairs = pairsOf(textOf(invocation, 'pairs'));
  let l2: Parameters<typeof gradientNoiseOf>[2] = {};
  return runDerivation(invocation, {
    request: (gradients, { batch }) => {
      if (pairs) checkPairs(pairs, batch);
      l2 = gradients.l2 ? { l2: gradients.l2 } : {};
      return noiseRequest(gradients);
    },
    compute: async ({ session, data }) => {
      let run: RunResult | undefined;
      let runs = 0;
      let next = performance.now() + secondsBetweenLines * 1000;
      const noise = await gradientNoiseOf(session, data, {
        ...l2,
        ...(pairs ? { pairs } : {}),
        signal: invocation.signal,
        onRun: (done, examples, latest) => {
          // Runs take the same time but the first, in which code is compiled, and a shorter last.
          if (runs++ < 2 || done < examples) run = latest;
          if (invocation.quiet || performance.now() < next) return;
          next = performance.now() + secondsBetweenLines * 1000;
          process.stderr.write(`example ${done}/${examples}\n`);
        },
      });
      const { seconds, reports } = run!;
      return { tensors: tensorsOf(noise), ...figuresOf(noise), summary: summaryOf(noise), seconds, reports };
    },
  });
}

/** `1:256,8:64` */
function pairsOf(text: string | undefined): SizePair[] | undefined {
  return text?.split(',').map((pair) => {
    const match = /^\s*(\d+):(\d+)\s*$/.exec(pair);
    if (match) return [Number(match[1]), Number(match[2])];
    throw new UsageError('command-line', `--pairs: expected pairs of sizes such as 1:64,8:64, got "${pair}"`, {
      fields: { flag: 'pairs', got: pair },
      remedy: '--pairs 1:64,8:64',
    });
  });
}

const figuresOf = (noise: GradientNoise) => ({
  scalars: {
    loss: noise.loss,
    meanGradNormSq: noise.meanGradNormSq,
    trSigma: noise.trSigma,
    bSimple: noise.bSimple,
    g2Unbiased: noise.g2Unbiased,
    bSimpleUnbiased: noise.bSimpleUnbiased,
  },
  fields: { pairs: noise.pairs.map(({ small, big, all, first }) => ({ small, big, ...all, first })) },
});

/**
 * The trade that the noise scale describes (section 2.3 of the paper): at batch size B training takes 1 + B_noise/B times
 * the least number of steps, and 1 + B/B_noise times the least number of samples.
 */
function summaryOf({ examples, bSimple, bSimpleUnbiased, g2Unbiased }: GradientNoise): string {
  if (!Number.isFinite(bSimple)) return 'The gradient is zero: there is nothing to compare its noise with.';
  if (g2Unbiased <= 0) {
    return `The noise of ${examples} examples hides the gradient: the noise scale is larger than they can tell. Give a larger batch.`;
  }
  const scale = sizeText(bSimpleUnbiased);
  if (bSimpleUnbiased < 1) {
    return `One sample tells the gradient well: the noise scale is ${scale} samples, and batches of several save few steps.`;
  }
  return `Batches well below about ${scale} samples: near-perfect scaling, twice the batch takes half the steps. At ${scale} training takes twice the least number of steps and twice the least number of samples; batches well above save few steps.`;
}

const sizeText = (samples: number): string =>
  String(samples < 10 ? Number(samples.toPrecision(2)) : Math.round(samples));

const single = (value: number): HostTensor => vector([value]);
const vector = (values: ArrayLike<number>): HostTensor => ({
  type: { dtype: 'f32', shape: [values.length] },
  data: Float32Array.from(values),
});

function tensorsOf(noise: GradientNoise): (readonly [string, HostTensor | RawTensor])[] {
  const { pairs } = noise;
  const sizes = BigInt64Array.from(pairs.flatMap(({ small, big }) => [BigInt(small), BigInt(big)]));
  const columns: readonly (readonly [string, (pair: PairEstimate) => number])[] = [
    ['norm_sq_small', (p) => p.normSqSmall],
    ['norm_sq_big', (p) => p.normSqBig],
    ['g2', (p) => p.g2],
    ['s', (p) => p.s],
    ['b_simple', (p) => p.bSimple],
  ];
  return [
    ['loss', single(noise.loss)],
    ...[...noise.gradients].map(([name, g]) => [`grad/${name}`, g] as const),
    ['per_example_loss', vector(noise.perExampleLoss)],
    ['per_example_grad_norm', vector(noise.norms)],
    ['mean_grad_norm_sq', single(noise.meanGradNormSq)],
    ['tr_sigma', single(noise.trSigma)],
    ['b_simple', single(noise.bSimple)],
    ['tr_sigma_biased', single(noise.trSigmaBiased)],
    ['b_simple_biased_sigma', single(noise.bSimpleBiasedSigma)],
    ['g2_unbiased', single(noise.g2Unbiased)],
    ['b_simple_unbiased', single(noise.bSimpleUnbiased)],
    ['pairs', { dtype: 'I64', shape: [pairs.length, 2], bytes: new Uint8Array(sizes.buffer) }],
    ...columns.map(([name, of]) => [`pair/${name}`, vector(pairs.map((p) => of(p.all)))] as const),
    ...columns.map(([name, of]) => [`pair_first/${name}`, vector(pairs.map((p) => of(p.first)))] as const),
  ];
}

// Whole steps of the models in the peers' table against the sum of their kernels, as recorded in steps in between: asked for one by
// one, and begun ahead.
import { makeOptimizer, makePlan, nn, Session } from 'partita';
import { median, spreadOf } from '../compare/statistics.mjs';
import { device, ms } from './text.mjs';

const models = {
  mlp: [{ kind: 'mlp', inputs: 784, classes: 10, hidden: [512, 512] }, 128, [784]],
  gpt: [{ kind: 'gpt', vocab: 96, context: 64, layers: 4, heads: 4, width: 128, tied: false }, 16, [64]],
  cnn: [{ kind: 'lenet', size: 28, classes: 10, widths: [6, 16], hidden: [120, 84] }, 64, [1, 28, 28]],
};

export async function steps(name, rounds) {
  const [config, batch, shape] = models[name];
  const plan = makePlan({
    model: nn.models.modelOf(config),
    programs: { train: { batch, mode: 'train' } },
    microbatches: 1,
    devices: [device],
    partition: 'auto',
    optimizer: makeOptimizer({ kind: 'sgd', lr: 0.01 }),
  });
  const size = shape.reduce((a, b) => a * b, batch);
  const isText = name === 'gpt';
  const data = {
    x: isText
      ? {
          type: { dtype: 'i32', shape: [batch, ...shape] },
          data: Int32Array.from({ length: size }, (_, i) => (i * 7919) % 96),
        }
      : {
          type: { dtype: 'f32', shape: [batch, ...shape] },
          data: Float32Array.from({ length: size }, (_, i) => Math.sin(i * 12.9) / 2),
        },
    y: {
      type: { dtype: 'i32', shape: isText ? [batch, ...shape] : [batch] },
      data: Int32Array.from({ length: isText ? size : batch }, (_, i) => (i * 31) % (isText ? 96 : 10)),
    },
  };
  const session = await Session.open(plan, { seed: 1, audit: false });
  const { instructions } = plan.programs.train.devices[0];
  const recordedKernels = (recorded) =>
    instructions.reduce(
      (sum, { kind }, at) => sum + (kind === 'compute' ? (recorded[2 * at + 1] - recorded[2 * at]) / 1000 : 0),
      0,
    );
  /** Seconds a step of three that are begun ahead, behind one that is asked for. */
  async function ahead() {
    const count = 4;
    let next = session.stage('train', data, { step: 0 });
    let begin;
    for (let i = 0; i < count; i++) {
      const isLast = i === count - 1;
      const meanwhile = () => {
        if (!isLast) next = session.stage('train', data, { step: i + 1, ahead: true });
      };
      await session.runStaged(next, { meanwhile });
      begin ??= performance.now();
    }
    return (performance.now() - begin) / 1000 / (count - 1);
  }
  const times = { step: [], wall: [], kernels: [], ratio: [], ahead: [] };
  const warm = 4;
  const count = name === 'gpt' ? rounds : 3 * rounds;
  for (let i = 0; i < warm + count; i++) {
    const begin = performance.now();
    const { reports } = await session.run('train', data, { step: 2 * i });
    const wall = (performance.now() - begin) / 1000;
    const recorded = (await session.run('train', data, { step: 2 * i + 1, profile: true })).reports[0].times;
    const begunAhead = await ahead();
    if (i < warm) continue;
    const kernels = recordedKernels(recorded);
    times.step.push(reports[0].seconds);
    times.wall.push(wall);
    times.kernels.push(kernels);
    times.ratio.push(wall / kernels);
    times.ahead.push(begunAhead / kernels);
  }
  await session.close();
  const [step, wall, kernels] = ['step', 'wall', 'kernels'].map((k) => median(times[k]));
  const [ratio, aheadRatio] = [spreadOf(times.ratio), spreadOf(times.ahead)];
  console.log(
    `  ${name}  ${instructions.length} instructions: kernels ${ms(kernels, 2)}, device ${ms(step, 2)}, with the host ${ms(wall, 2)}; ` +
      `ratio ${ratio[0].toFixed(3)} (goal ≤ 1.10), begun ahead ${aheadRatio[0].toFixed(3)}`,
  );
  return { [name]: { instructions: instructions.length, step, wall, kernels, ratio, ahead: aheadRatio } };
}

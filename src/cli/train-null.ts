/** A training on null devices: its steps are played and their bytes counted, and nothing is learnt. */
import { UsageError } from '../core/errors.ts';
import { formatBytes, formatCount, formatSeconds } from '../core/format.ts';
import { hasNullDevices, refuseNullDevices } from '../plan/null-devices.ts';
import type { Plan } from '../plan/plan.ts';
import { writePlanFile } from '../plan/plan-file.ts';
import { figuresOf } from '../report/figures.ts';
import { printFigures, printPlan } from '../report/plan.ts';
import { table } from '../report/table.ts';
import type { PlayedStep } from '../runtime/device-image.ts';
import type { PreparedExperiment } from '../train/experiment/prepare.ts';
import type { Experiment } from '../train/experiment/schema.ts';
import { Session } from '../train/session.ts';
import { programFor } from '../train/trainer.ts';
import { type Invocation, pathOf, textOf, wholeNumberOf } from './invocation.ts';
import { RunFolder } from './run-folder.ts';

/**
 * Samples a step that `--batch` gives. Throws UsageError, before a plan is made, where a training on null devices is asked for
 * what only arithmetic gives, or one on others for `--batch`.
 */
export function batchOfNullTraining(
  invocation: Invocation,
  experiment: Experiment,
  devices: Parameters<typeof hasNullDevices>[0],
): number | undefined {
  const batch = wholeNumberOf(invocation, 'batch', 'batch', 1);
  const isNull = hasNullDevices(devices);
  if (batch !== undefined && (!isNull || experiment.data)) {
    const why = isNull ? 'the data say the batch' : 'only null devices train without data, which say the batch';
    throw new UsageError('command-line', `--batch: ${why}`, {
      fields: { flag: 'batch', batch },
      remedy: `--data.batchSize ${batch}`,
    });
  }
  const refuse = (asked: boolean, what: string, remedy: string) => {
    if (asked) refuseNullDevices(devices, what, remedy);
  };
  refuse(experiment.eval !== undefined, 'eval: there is nothing to evaluate', 'leave out eval');
  refuse(experiment.noise !== false, 'noise: there are no gradients to be noisy', '--noise false');
  refuse(experiment.checkpoint !== undefined, 'checkpoint: there is nothing to keep', 'leave out checkpoint');
  refuse(experiment.resume !== undefined, 'resume: there is nothing to go on with', 'leave out resume');
  refuse(pathOf(invocation, 'params') !== undefined, '--params: values have no place', 'leave out --params');
  refuse(
    textOf(invocation, 'out') !== undefined,
    '--out: there are no losses and parameters to write',
    'leave out --out; --json has the peaks',
  );
  return batch;
}

export async function playTraining(invocation: Invocation, prepared: PreparedExperiment, plan: Plan): Promise<number> {
  const silent = invocation.quiet || invocation.json;
  if (!silent) {
    process.stdout.write(
      `${printPlan(plan, { width: process.stdout.columns || undefined, elsewhere: '"partita plan --json" has them' })}\n\n`,
    );
    process.stdout.write(
      'Null devices play the steps and count their bytes; nothing is computed, nothing is learnt.\n',
    );
  }
  const { experiment, source, steps } = prepared;
  using folder = new RunFolder(pathOf(invocation, 'runDir', 'a folder'), plan.request.model.name);
  await folder.clear();
  await folder.write('experiment.json', `${JSON.stringify(experiment, null, 2)}\n`);
  await folder.write('plan.json', writePlanFile(plan, experiment));

  const began = performance.now();
  await using session = await Session.open(plan, { audit: invocation.own.audit === true ? true : undefined });
  let played: readonly PlayedStep[] = [];
  let epochs = 1;
  for (let step = 0; step < steps; step++) {
    const batch = source?.batchAt(step) ?? { tensors: {}, epoch: 0, step };
    const program = programFor(plan, 'train', batch);
    const { seconds, reports } = await session.run(program, batch.tensors, { step, signal: invocation.signal });
    folder.log({ step, epoch: batch.epoch, loss: null, program, seconds });
    if (!invocation.quiet) process.stderr.write(`step ${step + 1}/${steps} played in ${formatSeconds(seconds)}\n`);
    // A smaller last batch is another step: the structure told is that of the full one.
    if (step === 0) played = reports.map((r) => r.played!);
    epochs = batch.epoch + 1;
  }
  const figures = figuresOf(plan, undefined, await session.measuredPeaks());
  const result = {
    version: 1,
    command: 'train',
    model: plan.request.model.name,
    steps,
    epochs,
    microbatches: plan.request.microbatches,
    schedule: plan.schedules[Object.keys(plan.programs)[0]!]!.name,
    firstLoss: null,
    loss: null,
    evaluation: null,
    best: null,
    resumed: null,
    checkpoints: null,
    noise: null,
    ...figures,
    devices: figures.devices.map((d, i) => ({ ...d, played: played[i] })),
    seconds: (performance.now() - began) / 1000,
    runDir: folder.path,
    out: null,
  };
  await folder.write('result.json', `${JSON.stringify(result, null, 2)}\n`);
  if (invocation.json) process.stdout.write(`${JSON.stringify(result)}\n`);
  else if (!silent) {
    const told = `${steps} step${steps === 1 ? '' : 's'} played in ${formatSeconds(result.seconds)}, nothing learnt; times above are predicted`;
    process.stdout.write(
      `\n${printFigures(figures)}\n\n${printPlayed(played)}\n\n${told}\nWritten to ${folder.path}\n`,
    );
  }
  return 0;
}

/** What a step is made of. */
const printPlayed = (played: readonly PlayedStep[]): string =>
  table(
    ['device', 'instructions a step', 'messages sent', 'bytes sent'],
    played.map((p, device) => [device, formatCount(p.instructions), formatCount(p.messages), formatBytes(p.sentBytes)]),
  );

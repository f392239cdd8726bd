import { UsageError } from '../core/errors.ts';
import { formatSeconds } from '../core/format.ts';
import type { HostTensor } from '../core/types.ts';
import { writeFileAtomic } from '../formats/atomic.ts';
import { readText } from '../formats/read-file.ts';
import { writeSafetensors } from '../formats/safetensors.ts';
import { makePlan, type Plan } from '../plan/plan.ts';
import { checkSamePlan, type PlanFile, readPlanFile, withDecisions, writePlanFile } from '../plan/plan-file.ts';
import { figuresOf, meanOfSteps } from '../report/figures.ts';
import { printFigures, printPlan } from '../report/plan.ts';
import {
  type PreparedExperiment,
  planRequestOf,
  prepareExperiment,
  readParameters,
} from '../train/experiment/prepare.ts';
import type { NoiseRecord } from '../train/noise-tracker.ts';
import { Session } from '../train/session.ts';
import { type StepRecord, train } from '../train/trainer.ts';
import { loadExperiment } from './experiment.ts';
import { type Invocation, textOf } from './invocation.ts';
import { evaluationText, makeProgress } from './progress.ts';
import { RunFolder } from './run-folder.ts';

export async function run(invocation: Invocation): Promise<number> {
  const { prepared, plan } = planTraining(invocation);
  const silent = invocation.quiet || invocation.json;
  if (!silent) process.stdout.write(`${printPlan(plan, { width: process.stdout.columns })}\n\n`);

  const { experiment, steps, source } = prepared;
  const params = textOf(invocation, 'params');
  const parameters = params === undefined ? undefined : readParameters(params, prepared.model);
  using folder = new RunFolder(textOf(invocation, 'runDir'), plan.request.model.name);
  await folder.write('experiment.json', `${JSON.stringify(experiment, null, 2)}\n`);
  await folder.write('plan.json', writePlanFile(plan, experiment));

  const records: StepRecord[] = [];
  const began = performance.now();
  await using session = await Session.open(plan, {
    seed: experiment.seed,
    parameters,
    audit: invocation.own.audit === true ? true : undefined,
  });
  const progress = makeProgress(steps, Math.max(...plan.memory.map((m) => m.peakBytes)), invocation.quiet);
  try {
    for await (const record of train({
      session,
      data: source!,
      steps,
      learningRate: prepared.learningRate,
      ...(typeof experiment.noise === 'object' ? { noise: experiment.noise } : {}),
      momentum: prepared.momentum,
      evaluation: prepared.evaluation,
      signal: invocation.signal,
    })) {
      records.push(record);
      folder.log(record);
      progress.step(record);
    }
  } finally {
    progress.stop();
  }
  const lost = records.find((r) => !Number.isFinite(r.loss));
  if (lost) {
    process.stderr.write(
      `note: the loss is ${lost.loss} from step ${lost.step + 1} on (null in JSON); try a smaller --optimizer.lr\n`,
    );
  }
  const final = await session.parameters();
  const buffers = await session.buffers();
  const figures = figuresOf(plan, { ...meanOfSteps(records), peaks: await session.measuredPeaks() });
  const last = records.at(-1)!;
  const result = {
    version: 1,
    command: 'train',
    model: plan.request.model.name,
    steps,
    epochs: last.epoch + 1,
    microbatches: plan.request.microbatches,
    schedule: plan.schedules[Object.keys(plan.programs)[0]!]!.name,
    firstLoss: records[0]!.loss,
    loss: last.loss,
    evaluation: last.evaluation ?? null,
    noise: records.findLast((r) => r.noise)?.noise ?? null,
    ...figures,
    seconds: (performance.now() - began) / 1000,
    runDir: folder.path,
    out: textOf(invocation, 'out') ?? null,
  };
  await folder.write('params.safetensors', writeSafetensors(new Map([...final, ...buffers])));
  await folder.write('result.json', `${JSON.stringify(result, null, 2)}\n`);
  if (result.out !== null) await writeFileAtomic(result.out, resultFile(plan, records, final, buffers));

  if (invocation.json) process.stdout.write(`${JSON.stringify(result)}\n`);
  else if (!silent) {
    const evaluation = last.evaluation ? `; ${evaluationText(last.evaluation)}` : '';
    process.stdout.write(
      `\n${printFigures(figures)}\n\n${steps} steps in ${formatSeconds(result.seconds)}: loss ${records[0]!.loss.toPrecision(4)} to ${last.loss.toPrecision(4)}${evaluation}\nWritten to ${folder.path}\n`,
    );
  }
  return 0;
}

/** Plans a training: as the experiment says, or as a stored plan does. */
export function planTraining(invocation: Invocation): { prepared: PreparedExperiment; plan: Plan } {
  const planPath = textOf(invocation, 'plan');
  const stored = planPath === undefined ? undefined : readPlanFile(readText(planPath), planPath);
  if (stored) refuseOtherLayout(invocation);
  const { experiment, where } = loadExperiment(invocation, stored);
  if (stored) refuseOtherModel(experiment, stored, planPath!, where);
  const prepared = prepareExperiment(withMicrobatches(experiment, stored), { where });
  const request = planRequestOf(prepared, 'train');
  if (!stored) return { prepared, plan: makePlan(request) };
  const plan = makePlan(withDecisions(request, stored));
  checkSamePlan(plan, stored, planPath!);
  return { prepared, plan };
}

/** A plan's stages are layers of its own model. */
function refuseOtherModel(
  experiment: PreparedExperiment['experiment'],
  stored: PlanFile,
  plan: string,
  where: string,
): void {
  const own = (stored.experiment as { model?: { kind?: unknown } }).model?.kind;
  const given = (experiment.model as { kind?: unknown }).kind;
  if (own === given) return;
  throw new UsageError('plan-other-model', `${plan} is a plan for the model ${own}, and ${where} has ${given}`, {
    fields: { plan, planModel: own, model: given },
    remedy: `partita train --plan ${plan}`,
  });
}

const withMicrobatches = (experiment: PreparedExperiment['experiment'], stored: PlanFile | undefined) =>
  stored
    ? { ...experiment, microbatches: stored.microbatches, schedule: undefined, partition: 'auto' as const }
    : experiment;

const layoutKeys = ['devices', 'links', 'microbatches', 'schedule', 'partition', 'recompute', 'batchNorm'];

function refuseOtherLayout({ keys, memory }: Invocation): void {
  const given = keys.map(([path]) => path).filter((path) => layoutKeys.includes(path.split('.')[0]!));
  if (memory !== undefined) given.push('memory');
  if (given.length === 0) return;
  throw new UsageError(
    'plan-and-layout',
    `--plan says how to run; ${given.map((k) => `--${k}`).join(', ')} cannot change it`,
    {
      fields: { flags: given },
      remedy: 'leave them out, or make another plan with "partita plan --plan-out"',
    },
  );
}

/** Nothing of layout or time: the same experiment gives the same bytes. */
function resultFile(
  plan: Plan,
  records: readonly StepRecord[],
  final: ReadonlyMap<string, HostTensor>,
  buffers: ReadonlyMap<string, HostTensor>,
): Uint8Array {
  const series = (of: (record: StepRecord) => number): HostTensor => ({
    type: { dtype: 'f32', shape: [records.length] },
    data: Float32Array.from(records, of),
  });
  const graph = Object.values(plan.graphs)[0]!;
  const trained = graph.parameters.filter((p) => !p.node.source!.frozen);
  return writeSafetensors([
    ['loss', series((r) => r.loss)],
    ['grad_norm', series((r) => r.gradNorm ?? Number.NaN)],
    ['lr', series((r) => r.lr)],
    ...noiseSeries(records, series),
    ...trained.map((p) => [`final/${p.name}`, final.get(p.name)!] as const),
    ...[...buffers].map(([name, value]) => [`buffer/${name}`, value] as const),
  ]);
}

/** NaN at a step of one microbatch (a small last batch). */
function noiseSeries(
  records: readonly StepRecord[],
  series: (of: (record: StepRecord) => number) => HostTensor,
): (readonly [string, HostTensor])[] {
  if (!records.some((r) => r.noise)) return [];
  const of = (key: keyof NoiseRecord) => series((r) => r.noise?.[key] ?? Number.NaN);
  return [
    ['noise/g2', of('g2')],
    ['noise/s', of('s')],
    ['noise/b_simple', of('bSimple')],
  ];
}

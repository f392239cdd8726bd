import type { HostTensor } from '../core/types.ts';
import { writeFileAtomic } from '../formats/atomic.ts';
import { writeSafetensors } from '../formats/safetensors.ts';
import { makePlan, type Plan } from '../plan/plan.ts';
import { figuresOf } from '../report/figures.ts';
import { printFigures } from '../report/plan.ts';
import { planRequestOf, prepareExperiment, readParameters } from '../train/experiment/prepare.ts';
import { Session } from '../train/session.ts';
import { programFor } from '../train/trainer.ts';
import { loadExperiment } from './experiment.ts';
import { type Invocation, textOf } from './invocation.ts';

export async function run(invocation: Invocation): Promise<number> {
  const { experiment, where } = loadExperiment(invocation);
  const prepared = prepareExperiment(experiment, { where });
  const plan = makePlan(planRequestOf(prepared, 'gradients'));
  const params = textOf(invocation, 'params');
  const parameters = params === undefined ? undefined : readParameters(params, prepared.model);
  const batch = prepared.source!.batchAt(0);

  await using session = await Session.open(plan, {
    seed: experiment.seed,
    parameters,
    audit: invocation.own.audit === true,
  });
  const { loss, results, seconds, reports } = await session.run(programFor(plan, 'gradients', batch), batch.tensors, {
    signal: invocation.signal,
  });
  const figures = figuresOf(plan, {
    peaks: await session.measuredPeaks(),
    busySeconds: reports.map((r) => r.busySeconds),
    stepSeconds: seconds,
  });
  const tensors = inGraphOrder(plan, results);
  const out = textOf(invocation, 'out');
  if (out !== undefined) await writeFileAtomic(out, writeSafetensors(tensors));

  if (invocation.json) {
    const result = {
      version: 1,
      command: 'grad',
      model: plan.request.model.name,
      batch: prepared.batch,
      microbatches: plan.request.microbatches,
      loss,
      tensors: Object.fromEntries(tensors.map(([name, { type }]) => [name, type.shape])),
      ...figures,
      out: out ?? null,
    };
    process.stdout.write(`${JSON.stringify(result)}\n`);
  } else if (!invocation.quiet) {
    process.stdout.write(
      `${printFigures(figures)}\n\nloss ${loss.toPrecision(7)}, ${tensors.length} tensors${out ? ` written to ${out}` : ''}\n`,
    );
  }
  return 0;
}

/** The loss first, then as the graph declares its results: the order has nothing of the layout. */
function inGraphOrder(plan: Plan, results: ReadonlyMap<string, HostTensor>): (readonly [string, HostTensor])[] {
  const names = [...Object.values(plan.graphs)[0]!.outputs.keys()];
  return ['loss', ...names.filter((name) => name !== 'loss')].map((name) => [name, results.get(name)!]);
}

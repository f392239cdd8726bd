import { formatSeconds } from '../core/format.ts';
import { writeFileAtomic } from '../formats/atomic.ts';
import { withMeasuredLinks } from '../profile/costs.ts';
import { stepTrace } from '../report/step-trace.ts';
import { refuseTooManyThreads } from '../runtime/device-threads.ts';
import { bubbleOf } from '../train/bubble.ts';
import { planRequestOf, prepareExperiment, readParameters } from '../train/experiment/prepare.ts';
import { Session } from '../train/session.ts';
import { programFor, train } from '../train/trainer.ts';
import { loadExperiment, refuseNullExperiment } from './experiment.ts';
import { type Invocation, pathOf, textOf, wholeNumberOf } from './invocation.ts';
import { cacheOf, plansOf } from './measuring.ts';

export async function run(invocation: Invocation): Promise<number> {
  const { experiment, where } = loadExperiment(invocation);
  refuseNullExperiment(experiment, 'trace: there are no times to record', 'partita simulate --trace FILE');
  const warmUp = wholeNumberOf(invocation, 'warmUp', 'warm-up', 0) ?? 3;
  const prepared = prepareExperiment(
    { ...experiment, steps: warmUp + 1, epochs: undefined, eval: undefined },
    { where },
  );
  const request = planRequestOf(prepared, 'train');
  refuseTooManyThreads(request.devices.length);
  const params = pathOf(invocation, 'params');
  const parameters = params === undefined ? undefined : readParameters(params, prepared.model);
  const plan = await plansOf(invocation).make(withMeasuredLinks(request, cacheOf(invocation, experiment)));
  await using session = await Session.open(plan, {
    seed: experiment.seed,
    parameters,
    audit: invocation.own.audit === true,
    signal: invocation.signal,
  });
  const { source, learningRate, momentum } = prepared;
  const { signal } = invocation;
  for await (const _ of train({ session, data: source!, steps: warmUp, learningRate, momentum, signal }));
  const batch = source!.batchAt(warmUp);
  const program = programFor(plan, 'train', batch);
  const step = await session.run(program, batch.tensors, {
    step: warmUp,
    lr: learningRate(warmUp),
    momentum: momentum?.(warmUp),
    profile: true,
    signal,
  });

  const out = textOf(invocation, 'out') ?? 'trace.json';
  const json = stepTrace(plan, program, step.reports, { step: warmUp });
  await writeFileAtomic(out, `${JSON.stringify(json)}\n`);
  const bubble = bubbleOf(
    step.reports.map((r) => r.busySeconds),
    step.seconds,
  );
  if (invocation.json) {
    const result = {
      version: 1,
      command: 'trace',
      model: plan.request.model.name,
      step: warmUp,
      stepSeconds: step.seconds,
      bubbleFraction: bubble,
      events: json.traceEvents.length,
      out,
    };
    process.stdout.write(`${JSON.stringify(result)}\n`);
  } else if (!invocation.quiet) {
    process.stdout.write(
      `Step ${warmUp}: ${formatSeconds(step.seconds)}, bubble ${(bubble * 100).toFixed(1)} %\n${json.traceEvents.length} events in ${out}; open it in https://ui.perfetto.dev\n`,
    );
  }
  return 0;
}

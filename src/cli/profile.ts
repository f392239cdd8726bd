import { writeProfile } from '../cost/profile.ts';
import { writeFileAtomic } from '../formats/atomic.ts';
import { steadyStepOf } from '../plan/steady-step.ts';
import { breakdownOf } from '../profile/breakdown.ts';
import { machineCosts, withMeasuredLinks } from '../profile/costs.ts';
import { feedOf } from '../profile/feed.ts';
import { profileOf } from '../profile/kernels.ts';
import { recordSteps } from '../profile/record.ts';
import { printProfile } from '../report/profile.ts';
import { refuseTooManyThreads } from '../runtime/device-threads.ts';
import { bubbleOf } from '../train/bubble.ts';
import { planRequestOf, prepareExperiment, readParameters } from '../train/experiment/prepare.ts';
import { loadExperiment, refuseNullExperiment } from './experiment.ts';
import { type Invocation, pathOf, textOf, wholeNumberOf } from './invocation.ts';
import { announcer, cacheOf, plansOf } from './measuring.ts';

export async function run(invocation: Invocation): Promise<number> {
  const { experiment, where } = loadExperiment(invocation);
  refuseNullExperiment(experiment, 'profile: there are no kernels to time');
  const steps = wholeNumberOf(invocation, 'timedSteps', 'timed-steps', 1) ?? 20;
  const warmUp = wholeNumberOf(invocation, 'warmUp', 'warm-up', 0) ?? 5;
  const rows = wholeNumberOf(invocation, 'rows', 'rows', 1) ?? 20;
  const prepared = prepareExperiment({ ...experiment, eval: undefined }, { where });
  const cache = cacheOf(invocation, experiment);
  const request = planRequestOf(prepared, 'train');
  refuseTooManyThreads(request.devices.length);
  const params = pathOf(invocation, 'params');
  const parameters = params === undefined ? undefined : readParameters(params, prepared.model);
  const plan = await plansOf(invocation).make(
    withMeasuredLinks({ ...request, programs: { train: request.programs.train! } }, cache),
  );
  const announce = announcer(invocation);
  const { signal } = invocation;
  const machine = await machineCosts({ cache, announce, signal });
  const recorded = await recordSteps(plan, feedOf(prepared), {
    steps,
    warmUp,
    seed: experiment.seed,
    parameters,
    signal,
  });
  const breakdown = breakdownOf(recorded, machine);
  const profile = profileOf(recorded, machine);
  const [out, html] = [textOf(invocation, 'out'), textOf(invocation, 'html')];
  if (out !== undefined) await writeFileAtomic(out, writeProfile(profile));
  if (html !== undefined) {
    const { profilePage } = await import('../report/profile-page.ts');
    await writeFileAtomic(html, await profilePage(breakdown, recorded, machine));
  }
  if (invocation.json) {
    const { counted, peaks, busySeconds, stepSeconds } = recorded;
    const result = {
      version: 1,
      command: 'profile',
      model: plan.request.model.name,
      blas: plan.request.blas ?? null,
      ...breakdown,
      devices: breakdown.devices.map((d, i) => ({
        ...d,
        peakBytesPlanned: peaks.planned[i],
        peakBytesMeasured: peaks.measured[i],
        bubbleFraction: bubbleOf([d.busySeconds], stepSeconds),
      })),
      bubbleFraction: bubbleOf(busySeconds, stepSeconds),
      stepSecondsPredicted: plan.prediction.stepSeconds,
      steadyStepSecondsPredicted: steadyStepOf(plan)?.stepSeconds ?? null,
      counted,
      machine,
      out: out ?? null,
      html: html ?? null,
    };
    process.stdout.write(`${JSON.stringify(result)}\n`);
  } else if (!invocation.quiet) {
    process.stdout.write(`${printProfile(breakdown, recorded, machine, { rows })}\n`);
    if (html !== undefined) process.stdout.write(`\nWritten to ${html}\n`);
  }
  return 0;
}

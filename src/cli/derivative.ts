/** What the commands share that compute derivatives of one batch: from the experiment to a session, and the report. */
import type { HostTensor } from '../core/types.ts';
import { writeFileAtomic } from '../formats/atomic.ts';
import type { RawTensor } from '../formats/raw-tensor.ts';
import { writeSafetensors } from '../formats/safetensors.ts';
import type { Plan, PlanRequest } from '../plan/plan.ts';
import { withMeasuredLinks } from '../profile/costs.ts';
import { figuresOf } from '../report/figures.ts';
import { printFigures } from '../report/plan.ts';
import type { StepReport } from '../runtime/device-image.ts';
import { refuseTooManyThreads } from '../runtime/device-threads.ts';
import {
  type PreparedExperiment,
  planRequestOf,
  prepareExperiment,
  readParameters,
} from '../train/experiment/prepare.ts';
import { Session, type SessionOptions } from '../train/session.ts';
import { loadExperiment, refuseNullExperiment } from './experiment.ts';
import { type Invocation, pathOf, textOf } from './invocation.ts';
import { cacheOf, plansOf } from './measuring.ts';

type Tensors = ReadonlyMap<string, HostTensor>;

export interface Derivation {
  /** The request for what is wanted, from that of the gradients. */
  readonly request: (gradients: PlanRequest, prepared: PreparedExperiment) => PlanRequest;
  readonly compute: (run: DerivativeRun) => Promise<Computed>;
}

export interface DerivativeRun {
  readonly plan: Plan;
  readonly session: Session;
  /** What the session was opened with. */
  readonly options: SessionOptions;
  /** The first batch of the data. */
  readonly data: Readonly<Record<string, HostTensor>>;
}

export interface Computed {
  /** What goes to the result file, in this order. */
  readonly tensors: readonly (readonly [string, HostTensor | RawTensor])[];
  /** Scalars for the JSON and the closing line. */
  readonly scalars: Readonly<Record<string, number>>;
  /** What the scalars say, as `summary` in the JSON and behind the closing line. */
  readonly summary?: string;
  /** A table to print before the closing line. */
  readonly table?: string;
  /** Further fields of the JSON. */
  readonly fields?: Readonly<Record<string, unknown>>;
  readonly seconds: number;
  readonly reports: readonly StepReport[];
}

/** Runs one derivation of the experiment's first batch; writes `--out`, prints figures or JSON. Resolves to the exit code. */
export async function runDerivation(invocation: Invocation, { request, compute }: Derivation): Promise<number> {
  const { experiment, where } = loadExperiment(invocation);
  refuseNullExperiment(experiment, `${invocation.command}: there are no derivatives to compute`);
  const prepared = prepareExperiment(experiment, { where });
  // A plan may take minutes: files that are missing or wrong are told before it.
  const params = pathOf(invocation, 'params');
  const parameters = params === undefined ? undefined : readParameters(params, prepared.model);
  const asked = request(planRequestOf(prepared, 'gradients'), prepared);
  refuseTooManyThreads(asked.devices.length);
  const plan = await plansOf(invocation).make(withMeasuredLinks(asked, cacheOf(invocation, experiment)));
  const batch = prepared.source!.batchAt(0);

  const options: SessionOptions = {
    seed: experiment.seed,
    parameters,
    audit: invocation.own.audit === true,
    signal: invocation.signal,
  };
  await using session = await Session.open(plan, options);
  const computed = await compute({ plan, session, options, data: batch.tensors });
  const { tensors, scalars, summary, fields, seconds, reports } = computed;
  const figures = figuresOf(plan, {
    peaks: await session.measuredPeaks(),
    busySeconds: reports.map((r) => r.busySeconds),
    stepSeconds: seconds,
  });
  const out = textOf(invocation, 'out');
  if (out !== undefined) await writeFileAtomic(out, writeSafetensors(tensors));

  if (invocation.json) {
    const result = {
      version: 1,
      command: invocation.command,
      model: plan.request.model.name,
      batch: prepared.batch,
      microbatches: plan.request.microbatches,
      simd: plan.request.simd ?? 'strict',
      ...scalars,
      ...(summary === undefined ? {} : { summary }),
      ...fields,
      tensors: Object.fromEntries(tensors.map(([name, t]) => [name, 'type' in t ? t.type.shape : t.shape])),
      blas: plan.request.blas ?? null,
      ...figures,
      out: out ?? null,
    };
    process.stdout.write(`${JSON.stringify(result)}\n`);
  } else if (!invocation.quiet) {
    const values = Object.entries(scalars).map(
      ([name, value]) => `${name} ${Number.isInteger(value) ? value : value.toPrecision(7)}`,
    );
    process.stdout.write(
      `${printFigures(figures)}\n\n${computed.table ? `${computed.table}\n\n` : ''}${[...values, `${tensors.length} tensor${tensors.length === 1 ? '' : 's'}${out ? ` written to ${out}` : ''}`].join(', ')}\n${summary === undefined ? '' : `${summary}\n`}`,
    );
  }
  return 0;
}

/** The scalars first, then tensors in the order in which the graph declares its results: nothing of the layout shows. */
export function inGraphOrder(
  plan: Plan,
  results: Tensors,
  first: readonly string[],
): (readonly [string, HostTensor])[] {
  const names = [...Object.values(plan.graphs)[0]!.outputs.keys()];
  return [...first, ...names.filter((name) => !first.includes(name))].map((name) => [name, results.get(name)!]);
}

/** A scalar as a tensor [1]. */
export const asVector = ({ type, data }: HostTensor): HostTensor => ({ type: { ...type, shape: [1] }, data });

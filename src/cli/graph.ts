import { nearest, UsageError } from '../core/errors.ts';
import { formatCount, formatTensor } from '../core/format.ts';
import { allocate, elementCount, formatType, type HostTensor } from '../core/types.ts';
import { writeFileAtomic } from '../formats/atomic.ts';
import type { Graph, Node, Tensor } from '../graph/graph.ts';
import { printGraph, toDot } from '../graph/print.ts';
import { feedBatchAxis } from '../graph/source.ts';
import { buildTrainingGraph } from '../optim/training-graph.ts';
import { stageMap } from '../partition/stage-of.ts';
import { chunkSizes } from '../plan/chunks.ts';
import { draftPlan, type PlanRequest } from '../plan/plan.ts';
import { graphSvg } from '../report/graph/svg.ts';
import { type GraphValues, graphValues, type ValueObjective } from '../report/graph/values.ts';
import { graphView } from '../report/graph/view.ts';
import {
  type PreparedExperiment,
  planRequestOf,
  prepareExperiment,
  readParameters,
} from '../train/experiment/prepare.ts';
import { referenceFeeds } from '../train/feeds.ts';
import { loadExperiment } from './experiment.ts';
import { choiceOf, type Invocation, pathOf, textOf, textsOf, wholeNumberOf } from './invocation.ts';

const modes = ['forward', 'gradients', 'train'] as const;
type Mode = (typeof modes)[number];
const formats = ['text', 'dot', 'svg'] as const;
type Format = (typeof formats)[number];

/** What is shown: the graph, how it is cut, and what flows along its edges. */
interface Shown {
  readonly prepared: PreparedExperiment;
  readonly mode: Mode;
  readonly graph: Graph;
  readonly samples: number;
  readonly cut: Cut | undefined;
  readonly values: GraphValues | undefined;
  /** What the gradients of `values` are of; undefined where there are none. */
  readonly differentiated: string | undefined;
}

interface Cut {
  readonly stageOf: (node: Node) => number;
  readonly placement: readonly number[];
  readonly method: string;
  readonly stages: number;
}

export async function run(invocation: Invocation): Promise<number> {
  const mode = choiceOf(invocation, 'mode', modes) ?? 'forward';
  const out = textOf(invocation, 'out');
  const format = formatOf(invocation, out);
  const withValues = invocation.own.values === true;
  refuseUnreadFlags(invocation, { withValues, format, out });

  const { experiment, where } = loadExperiment(invocation);
  const prepared = prepareExperiment(experiment, {
    where,
    needsData: false,
    needsObjective: mode !== 'forward',
    batch: wholeNumberOf(invocation, 'batch', 'batch', 1),
    ...(withValues ? { defaultBatch: 1 } : {}),
  });
  // Values are those of the whole batch at once; otherwise shapes are those of a microbatch, as they are on the devices.
  const samples = withValues ? prepared.batch : chunkSizes(prepared.batch, experiment.microbatches)[0]!;
  const { graph, objective, differentiated } = build(prepared, mode, samples);
  const shown: Shown = {
    prepared,
    mode,
    graph,
    samples,
    cut: cutOf(prepared, mode, graph),
    values: withValues ? valuesOf(invocation, prepared, graph, objective) : undefined,
    differentiated,
  };

  const text = invocation.json && out === undefined ? undefined : draw(shown, format);
  if (out !== undefined) await writeFileAtomic(out, text!);
  if (invocation.json) process.stdout.write(`${JSON.stringify(jsonOf(shown, out), finite)}\n`);
  else if (out === undefined) process.stdout.write(text!);
  else process.stdout.write(`${titleOf(shown)}: ${countsOf(graph)}\nwritten to ${out}\n`);
  return 0;
}

function formatOf(invocation: Invocation, out: string | undefined): Format {
  const named = choiceOf(invocation, 'format', formats);
  if (named) return named;
  if (out?.endsWith('.svg')) return 'svg';
  return out?.endsWith('.dot') || out?.endsWith('.gv') ? 'dot' : 'text';
}

/** Flags that another flag makes pointless: nothing that is asked for is passed over in silence. */
function refuseUnreadFlags(
  invocation: Invocation,
  { withValues, format, out }: { withValues: boolean; format: Format; out: string | undefined },
): void {
  const given = (name: string): boolean =>
    textOf(invocation, name) !== undefined || textsOf(invocation, name).length > 0;
  const problem =
    !withValues && (given('input') || given('params'))
      ? { flag: given('input') ? 'input' : 'params', needs: '--values', remedy: 'add --values' }
      : invocation.json && given('format') && out === undefined
        ? { flag: 'format', needs: 'a file of its own beside --json', remedy: `add --out graph.${format}` }
        : undefined;
  if (!problem) return;
  throw new UsageError('command-line', `--${problem.flag} needs ${problem.needs}`, {
    fields: { flag: problem.flag },
    remedy: problem.remedy,
  });
}

/** The model's graph, or the whole training graph. What a forward graph is differentiated by comes with it. */
function build(
  prepared: PreparedExperiment,
  mode: Mode,
  samples: number,
): { graph: Graph; objective: ValueObjective; differentiated: string | undefined } {
  const { model, optimizer, experiment } = prepared;
  const built = model.build(samples);
  if (mode === 'forward') {
    const { graph, objective } = built;
    if (objective.length > 0) return { graph, objective, differentiated: 'the objective' };
    return { graph, ...soleNumber(graph) };
  }
  const graph = buildTrainingGraph(built, {
    l2: experiment.l2,
    batchNorm: experiment.batchNorm,
    ...(mode === 'train'
      ? { optimizer, clip: experiment.clip, fetch: { outputs: true } }
      : { fetch: { outputs: true, gradients: true, inputGradients: true } }),
  });
  return { graph, objective: [], differentiated: undefined };
}

/** A model without losses whose one result is a number is differentiated by that. */
function soleNumber(graph: Graph): { objective: ValueObjective; differentiated: string | undefined } {
  const [only, ...others] = graph.outputs;
  if (!only || others.length > 0) return { objective: [], differentiated: undefined };
  const [name, loss] = only;
  const isNumber = loss.dtype === 'f32' && elementCount(loss.shape) === 1;
  return isNumber
    ? { objective: [{ loss, weight: 1 }], differentiated: name }
    : { objective: [], differentiated: undefined };
}

/** The stages that training would have; undefined for an experiment that is not cut. */
function cutOf(prepared: PreparedExperiment, mode: Mode, graph: Graph): Cut | undefined {
  const { devices, partition } = prepared.experiment;
  const count = typeof devices === 'number' ? devices : devices.length;
  if (count === 1 && partition === 'auto') return undefined;
  const request = planRequestOf(prepared, mode === 'gradients' ? 'gradients' : 'train');
  const trains = prepared.model.build(prepared.batch).objective.length > 0;
  const forward: PlanRequest['programs'] = { forward: { batch: prepared.batch, mode: 'forward', outputs: true } };
  const plan = draftPlan(trains ? request : { ...request, programs: forward, optimizer: undefined });
  return {
    stageOf: stageMap(graph, plan.partition, { fill: true }),
    placement: plan.placement,
    method: plan.partition.method,
    stages: plan.partition.stages,
  };
}

function valuesOf(
  invocation: Invocation,
  prepared: PreparedExperiment,
  graph: Graph,
  objective: ValueObjective,
): GraphValues {
  const { experiment, model, optimizer, learningRate, momentum, source, batch } = prepared;
  const params = pathOf(invocation, 'params');
  const given = new Map(textsOf(invocation, 'input').map((text) => givenValue(text, graph)));
  const tensors = source?.batchAt(0).tensors ?? {};
  const missing = graph.sources('input').find((t) => {
    const { name, feed } = t.node.source!;
    return feed!.kind === 'data' && !given.has(name) && !Object.hasOwn(tensors, name);
  });
  if (missing) {
    throw new UsageError('missing-input', `input ${missing} has no value`, {
      fields: { input: missing.name, type: formatType(missing.type) },
      remedy: `--input ${missing.name}=1, or data in the experiment`,
    });
  }
  const feeds = referenceFeeds(
    graph,
    {
      tensors,
      samples: batch,
      seed: experiment.seed,
      step: 0,
      hyper: () => optimizer.hyper(learningRate(0), 0, momentum?.(0)),
    },
    params === undefined ? undefined : readParameters(params, model),
    given,
  );
  return graphValues(graph, feeds, objective);
}

/** `x=1,2,3` as a tensor of the source x; one number fills it. */
function givenValue(text: string, graph: Graph): readonly [string, HostTensor] {
  const [, name, numbers] = /^([^=]+)=(.*)$/s.exec(text) ?? [];
  const wrong = (why: string, fields: Record<string, unknown>, remedy?: string): UsageError =>
    new UsageError('command-line', `--input ${text}: ${why}`, {
      fields: { flag: 'input', got: text, ...fields },
      remedy,
    });
  if (name === undefined) throw wrong('expected NAME=NUMBERS', {}, '--input x=1,2,3');
  const settable = graph.nodes.filter((n) => n.source && n.source.kind !== 'constant').map((n) => n.outputs[0]!);
  const tensor = settable.find((t) => t.name === name);
  if (!tensor) {
    const known = settable.map((t) => t.name);
    const near = nearest(name, known);
    throw wrong(
      `the graph has no input or parameter ${name}${near ? `; did you mean ${near}?` : ''}`,
      { nearest: near ?? null, known },
      near && `--input ${near}=${numbers}`,
    );
  }
  const values = numbers!.split(',').map((part) => (part.trim() === '' ? Number.NaN : Number(part)));
  const n = elementCount(tensor.shape);
  const bad = values.find((v) => Number.isNaN(v) || (tensor.dtype !== 'f32' && !Number.isInteger(v)));
  if (bad !== undefined) throw wrong(`expected numbers of ${tensor.dtype}, separated by commas`, {});
  if (values.length !== 1 && values.length !== n) {
    throw wrong(`${tensor} takes 1 or ${formatCount(n)} numbers, got ${values.length}`, { expected: n });
  }
  const data = allocate(tensor.type);
  if (values.length === 1) data.fill(values[0]!);
  else data.set(values);
  return [name, { type: tensor.type, data }];
}

// --- what is told ---

function draw(shown: Shown, format: Format): string {
  const { graph, cut, values } = shown;
  const title = titleOf(shown);
  switch (format) {
    case 'text': {
      const notes = values && ((t: Tensor) => notesOf(t, values));
      return `${[title, ...notesAbout(shown)].join('\n')}\n\n${printGraph(graph, { stages: cut?.stageOf, notes })}`;
    }
    case 'dot':
      return toDot(graph, {
        title,
        stageOf: cut?.stageOf,
        notes: values && ((t, reader, input) => edgeNotes(t, reader, input, values)),
      });
    case 'svg':
      return graphSvg(graphView(graph, { stageOf: cut?.stageOf, placement: cut?.placement, values }), {
        title,
        notes: notesAbout(shown),
      });
  }
}

function notesOf(t: Tensor, values: GraphValues): string[] {
  const [value, gradient] = [values.valueOf(t), values.gradientOf(t)];
  return [
    ...(value && !t.node.source?.value ? [`value     ${formatTensor(value, t.shape)}`] : []),
    ...(gradient ? [`gradient  ${formatTensor(gradient, t.shape)}`] : []),
  ];
}

function edgeNotes(t: Tensor, reader: Node | undefined, input: number, values: GraphValues): string[] {
  const value = values.valueOf(t);
  const gradient = values.gradientAlong(t, reader, input);
  return [
    ...(value ? [formatTensor(value, t.shape, 4)] : []),
    ...(gradient ? [`∂ ${formatTensor(gradient, t.shape, 4)}`] : []),
  ];
}

const shows: Readonly<Record<Mode, string>> = {
  forward: 'the model',
  gradients: 'the model and its derivative',
  train: 'a training step',
};

const titleOf = ({ prepared, mode }: Shown): string => `${prepared.model.name}: ${shows[mode]}`;

function notesAbout({ prepared, graph, samples, cut, values, mode, differentiated }: Shown): string[] {
  const { experiment, batch } = prepared;
  const { microbatches } = experiment;
  const batched = graph.sources('input').some((t) => feedBatchAxis(t.node.source!.feed!) !== null);
  const parts = [
    ...(batched && !values && microbatches > 1
      ? [`batch ${batch} in ${microbatches} microbatches: shapes of one with ${samples}`]
      : batched
        ? [`batch ${batch}`]
        : []),
    countsOf(graph),
    ...(values ? [`values in f64${differentiated ? ` with gradients of ${differentiated}` : ''}`] : []),
  ];
  return [
    parts.join('; '),
    ...(cut ? [`${cut.stages} stages by ${cut.method}, on devices ${cut.placement.join(', ')}`] : []),
    ...(values && mode === 'forward' && experiment.l2 ? ['without the penalty l2, which is no edge of the model'] : []),
  ];
}

function countsOf(graph: Graph): string {
  const ops = graph.nodes.filter((n) => n.op).length;
  const numbers = graph.parameters.reduce((sum, p) => sum + elementCount(p.shape), 0);
  const count = (n: number, what: string): string => `${formatCount(n)} ${what}${n === 1 ? '' : 's'}`;
  const learnt = numbers > 0 ? [`${count(graph.parameters.length, 'parameter')} with ${count(numbers, 'number')}`] : [];
  return [count(graph.nodes.length, 'node'), count(ops, 'op'), ...learnt].join(', ');
}

function jsonOf({ prepared, mode, graph, samples, cut, values }: Shown, out: string | undefined) {
  return {
    version: 1,
    command: 'graph',
    model: prepared.model.name,
    mode,
    batch: prepared.batch,
    microbatches: prepared.experiment.microbatches,
    samples,
    parameters: graph.parameters.reduce((sum, p) => sum + elementCount(p.shape), 0),
    partition: cut ? { method: cut.method, stages: cut.stages, placement: cut.placement } : null,
    ...graphView(graph, { stageOf: cut?.stageOf, placement: cut?.placement, values }),
    out: out ?? null,
  };
}

/** JSON has no infinities and no NaN: they are written as text. */
const finite = (_: string, value: unknown): unknown =>
  typeof value === 'number' && !Number.isFinite(value) ? String(value) : value;

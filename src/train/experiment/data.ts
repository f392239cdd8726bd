import { FormatError, UsageError } from '../../core/errors.ts';
import { formatType, type HostTensor, type Shape, sameType } from '../../core/types.ts';
import { type Model, someGraph } from '../../optim/model.ts';
import type { ContentVisitor, Dataset } from '../data/dataset.ts';
import { type RawTensors, tensorSource, type WantedTensor } from '../data/file.ts';
import { type DatasetConfig, openDataset, readTensorFiles, type TensorFiles } from '../data/open.ts';
import { type BatchSource, epochsOf } from '../data/source.ts';
import { holdOut } from '../data/split.ts';
import type { TextDataset } from '../data/text.ts';
import type { ClassTerm } from '../evaluate.ts';
import type { SampleInfo } from './model.ts';
import type { DataConfig, EvaluationDataConfig, Experiment, ModelChoice } from './schema.ts';
import { defaultBatchSize } from './semantics.ts';
import { checkTokens, type TokenInput, tokenInputs } from './tokens.ts';

/** A data set, or tensors whose meaning is known once the model's are. */
export type OpenedData =
  | { readonly kind: 'set'; readonly train: Dataset; readonly heldOut?: Dataset }
  | ({ readonly kind: 'tensors' } & RawTensors);

/** Files of named tensors, as opposed to data sets of numbered samples. */
const isTensorFiles = (config: DataConfig | EvaluationDataConfig): config is Extract<typeof config, TensorFiles> =>
  config.kind === 'file' || config.kind === 'npy';

const defaultContext = 64;

/** Opens what the experiment trains on; of a data set with `eval.fraction`, both parts. */
export function openData(experiment: Experiment, config: DataConfig): OpenedData {
  if (isTensorFiles(config)) return { kind: 'tensors', ...readTensorFiles(config) };
  const whole = openDataset(setOf(completeData(config, experiment.model)));
  const fraction = experiment.eval?.fraction;
  if (fraction === undefined) return { kind: 'set', train: whole };
  const { train, heldOut } = holdOut(whole, fraction, experiment.seed);
  return { kind: 'set', train, heldOut };
}

/** The data set alone, without the batches that are made of it. */
function setOf(config: DatasetConfig): DatasetConfig {
  const { mode, batchSize, shuffle, ...set } = config as DatasetConfig & Readonly<Record<string, unknown>>;
  return set as DatasetConfig;
}

type SetConfig = Exclude<DataConfig | EvaluationDataConfig, TensorFiles>;

/**
 * What a data set's description leaves to the model: a text's windows are as long as its context, and images have the
 * targets it takes. Held-out images have those of the images to train on.
 */
function completeData(config: SetConfig, model: ModelChoice, trainedOn?: DataConfig): DatasetConfig {
  switch (config.kind) {
    case 'text': {
      const context =
        config.context ?? (model.kind === 'gpt' || model.kind === 'lstm' ? model.context : undefined) ?? defaultContext;
      return { ...config, context };
    }
    case 'digits':
    case 'fashion-mnist': {
      const asked = [config, trainedOn].map((c) => (c && 'task' in c && c.kind !== 'csv' ? c.task : 'auto'));
      const byModel = model.kind === 'unet' ? 'segmentation' : 'classes';
      return { ...config, task: asked.find((task) => task !== 'auto') ?? byModel };
    }
    case 'csv':
      return config;
  }
}

/** What the data say about the model's sizes. */
export function sampleInfo(opened: OpenedData, config: DataConfig): SampleInfo {
  if (opened.kind === 'set') {
    const { tensors, classes, name } = opened.train;
    const targets = tensors.y?.dtype === 'f32' ? tensors.y.sampleShape[0] : undefined;
    return { sampleShape: tensors.x?.sampleShape, classes: classes ?? targets, from: `the data (${name})` };
  }
  const sampleShape = opened.tensors.get('x')?.shape.slice(config.mode === 'stream' ? 2 : 1);
  return { sampleShape, from: `the data (${opened.where})` };
}

/** The shape of a step's tensor by name, with any batch size; undefined where the data have none of this name. */
export function dataShapes(opened: OpenedData, config: DataConfig): (name: string) => Shape | undefined {
  if (opened.kind === 'set') {
    const { tensors } = opened.train;
    return (name) => (Object.hasOwn(tensors, name) ? [1, ...tensors[name]!.sampleShape] : undefined);
  }
  return (name) => opened.tensors.get(name)?.shape.slice(config.mode === 'stream' ? 1 : 0);
}

/** The tensors that a step is fed: the model's inputs and the targets of its losses. */
export function wantedTensors(model: Model): WantedTensor[] {
  return someGraph(model)
    .sources('input')
    .flatMap((t) => {
      const { name, feed } = t.node.source!;
      return feed?.kind === 'data' ? [{ name, dtype: t.dtype, batchAxis: feed.batchAxis }] : [];
    });
}

/** Batches to train on, each checked against the model. */
export function openSource(
  experiment: Experiment,
  opened: OpenedData,
  config: DataConfig,
  model: Model,
  terms: readonly ClassTerm[],
): BatchSource {
  const wanted = wantedTensors(model);
  const check = batchChecker(experiment, model, wanted, terms);
  const batchSize = config.batchSize ?? defaultBatchSize;
  const { seed } = experiment;
  const { shuffle } = config;
  if (opened.kind === 'tensors') {
    const mode =
      config.mode === 'epochs' ? ({ mode: 'epochs', batchSize, seed, shuffle } as const) : { mode: config.mode };
    return checked(tensorSource(opened, wanted, mode), check);
  }
  const source =
    config.mode === 'fixed' ? wholeSet(opened.train) : epochsOf(opened.train, { batchSize, seed, shuffle });
  return checked(source, check);
}

const allOf = (dataset: Dataset, from = 0, count = dataset.size): Record<string, HostTensor> =>
  dataset.batch(Int32Array.from({ length: count }, (_, i) => from + i));

function wholeSet(dataset: Dataset): BatchSource {
  const tensors = allOf(dataset);
  return {
    name: dataset.name,
    steps: Number.POSITIVE_INFINITY,
    stepsPerEpoch: 1,
    order: 'the whole data set every step',
    contents: dataset.contents,
    batchAt: (step) => ({ epoch: step, step, tensors }),
  };
}

/** Samples in a batch. */
export function batchSizeOf(
  tensors: Readonly<Record<string, HostTensor>>,
  wanted: readonly WantedTensor[],
  where: string,
): number {
  // A model of nothing but single values has batches of one.
  if (wanted.every(({ batchAxis }) => batchAxis === null)) return 1;
  for (const { name, batchAxis = 0 } of wanted) {
    const size = batchAxis === null ? undefined : tensors[name]?.type.shape[batchAxis];
    if (size !== undefined) return size;
  }
  throw new UsageError('data-batch', `${where}: no tensor has a batch axis`, {
    fields: { where },
    remedy: 'give the tensors that the model takes, by the names of its inputs',
  });
}

/** The same batches, each compared with what the model takes at that batch size. */
const checked = (source: BatchSource, check: BatchCheck): BatchSource => ({
  ...source,
  batchAt: (step) => {
    const batch = source.batchAt(step);
    check(batch.tensors, source.name);
    return batch;
  },
});

/** Throws UsageError, naming `where`, where the tensors of a batch are not what the model takes. */
type BatchCheck = (tensors: Readonly<Record<string, HostTensor>>, where: string) => void;

/** Compares batches with the model's inputs; a tensor that was seen before is not read again. */
function batchChecker(
  experiment: Experiment,
  model: Model,
  wanted: readonly WantedTensor[],
  terms: readonly ClassTerm[],
): BatchCheck {
  const types = new Map<number, ReadonlyMap<string, HostTensor['type']>>();
  // The indices of a file may count from the end: its Gather says so.
  const tokens: readonly TokenInput[] = experiment.model.kind === 'onnx' ? [] : tokenInputs(someGraph(model));
  const seen = new WeakSet<HostTensor>();
  return (tensors, where) => {
    const size = batchSizeOf(tensors, wanted, where);
    if (!types.has(size)) {
      const inputs = model.build(size).graph.sources('input');
      types.set(size, new Map(inputs.map((t) => [t.node.source!.name, t.type])));
    }
    const lines = wanted.flatMap(({ name }) => {
      const [want, got] = [types.get(size)!.get(name)!, tensors[name]?.type];
      if (!got) return [`the model takes ${name}: ${formatType(want)}, which is not there`];
      return sameType(want, got) ? [] : [`${name} is ${formatType(got)} and the model takes ${formatType(want)}`];
    });
    if (lines.length > 0) {
      throw new UsageError('data-mismatch', `${where} does not fit the model: ${lines.join('; ')}`, {
        fields: { data: where, problems: lines },
        remedy: remedyOfValues(experiment, tensors, terms) ?? 'correct the sizes of the model or the data',
      });
    }
    for (const token of tokens) {
      if (!seen.has(tensors[token.input]!)) checkTokens(tensors[token.input]!, token, where);
    }
    for (const term of terms) {
      if (!seen.has(tensors[term.target]!)) checkClasses(tensors[term.target]!, term, where);
    }
    for (const { name } of wanted) seen.add(tensors[name]!);
  };
}

/**
 * What to ask for where the target of a loss over classes holds values. A table whose target column holds anything but classes
 * is one of values, which the sizes alone do not tell.
 */
function remedyOfValues(
  { data }: Experiment,
  tensors: Readonly<Record<string, HostTensor>>,
  terms: readonly ClassTerm[],
): string | undefined {
  const term = terms.find(({ target }) => Object.hasOwn(tensors, target) && tensors[target]!.type.dtype === 'f32');
  if (!term) return undefined;
  const loss = `--objective '[{"kind": "mse", "output": "${term.output}", "target": "${term.target}"}]'`;
  return data?.kind === 'csv' && data.task === 'auto'
    ? `${loss}, or write classes as 0, 1, 2 …: --data.task classes names the first row that is none`
    : loss;
}

function checkClasses(
  target: HostTensor,
  { target: name, output, classes, ignoreIndex }: ClassTerm,
  where: string,
): void {
  const wrong = target.data.findIndex((v: number) => v !== ignoreIndex && (v < 0 || v >= classes));
  if (wrong < 0) return;
  throw new UsageError(
    'target-class',
    `${where}: target ${name} holds ${target.data[wrong]} (element ${wrong}), and output ${output} has the classes 0 to ${classes - 1}`,
    {
      fields: { data: where, target: name, index: wrong, value: target.data[wrong], classes },
      remedy: 'correct the targets, the number of classes of the model, or set ignoreIndex',
    },
  );
}

/** Held-out batches in order, the last one smaller; none is dropped. */
export interface HeldOut {
  readonly name: string;
  readonly contents?: ((visit: ContentVisitor) => void) | undefined;
  readonly batches: readonly { readonly size: number; readonly tensors: () => Readonly<Record<string, HostTensor>> }[];
}

export function openHeldOut(
  experiment: Experiment,
  opened: OpenedData,
  model: Model,
  terms: readonly ClassTerm[],
  batch: number,
): HeldOut | undefined {
  const config = experiment.eval;
  if (!config) return undefined;
  const wanted = wantedTensors(model);
  const check = batchChecker(experiment, model, wanted, terms);
  if (config.data && isTensorFiles(config.data)) {
    const { name, batchAt, contents } = tensorSource(heldOutFiles(config.data), wanted);
    const { tensors } = batchAt(0);
    check(tensors, name);
    return { name, contents, batches: [{ size: batchSizeOf(tensors, wanted, name), tensors: () => tensors }] };
  }
  const dataset = config.data
    ? openDataset(setOf(sharingVocabulary(completeData(config.data, experiment.model, experiment.data), opened)))
    : opened.kind === 'set'
      ? opened.heldOut!
      : undefined;
  if (!dataset)
    throw new UsageError('eval-data', 'eval.fraction needs a data set to hold out from', { remedy: 'give eval.data' });
  if (opened.kind === 'set' && config.data) {
    sameVocabulary(opened.train, dataset);
    sameClassNames(opened.train, dataset);
  }
  const starts = Array.from({ length: Math.ceil(dataset.size / batch) }, (_, i) => i * batch);
  return {
    name: dataset.name,
    contents: dataset.contents,
    batches: starts.map((from) => {
      const size = Math.min(batch, dataset.size - from);
      return {
        size,
        tensors: () => {
          const tensors = allOf(dataset, from, size);
          check(tensors, dataset.name);
          return tensors;
        },
      };
    }),
  };
}

/** Files of held-out tensors; a missing one is asked for by its own key. */
function heldOutFiles(config: TensorFiles): RawTensors {
  const raw = readTensorFiles(config);
  return raw.remedy ? { ...raw, remedy: (missing) => raw.remedy!(missing).replaceAll('--data.', '--eval.data.') } : raw;
}

const vocabularyOf = (dataset: Dataset): readonly string[] | undefined => (dataset as Partial<TextDataset>).vocabulary;

/** A held-out text of characters, or a table with words for classes, has the numbers of the data that are trained on. */
function sharingVocabulary(config: DatasetConfig, opened: OpenedData): DatasetConfig {
  if (config.kind === 'csv' && opened.kind === 'set') return { ...config, classNames: opened.train.classNames };
  if (config.kind !== 'text' || config.unit === 'bytes' || opened.kind !== 'set') return config;
  return { ...config, vocabulary: vocabularyOf(opened.train) };
}

/** The same number must mean the same token: bytes are no characters. */
function sameVocabulary(train: Dataset, heldOut: Dataset): void {
  const [a, b] = [train, heldOut].map((d) => vocabularyOf(d)?.join(''));
  if (a === b) return;
  throw new FormatError('eval-vocabulary', `${heldOut.name} has another vocabulary than ${train.name}`, {
    fields: { train: train.name, heldOut: heldOut.name },
    remedy: '--data.unit bytes --eval.data.unit bytes, or eval.fraction',
  });
}

/** Nor are numbers the words of a table. */
function sameClassNames(train: Dataset, heldOut: Dataset): void {
  const [named, numbered] = train.classNames ? [train, heldOut] : [heldOut, train];
  if (named.classNames === undefined || numbered.classNames !== undefined) return;
  throw new FormatError(
    'eval-classes',
    `the classes of ${named.name} are words, and those of ${numbered.name} are not`,
    {
      fields: { train: train.name, heldOut: heldOut.name, classes: named.classNames },
      remedy: `write ${numbered.name} with the words too, or use eval.fraction`,
    },
  );
}

/**
 * The experiment file: all keys that this version has. The command line's flags, the help texts and the checker read this
 * one description. Keys and values that later versions have are refused by name in later.ts.
 */
import { amount, rate } from '../../core/quantities.ts';
import {
  any,
  boolean,
  bytes,
  choice,
  either,
  type Infer,
  integer,
  list,
  nullable,
  number,
  object,
  optional,
  record,
  string,
  union,
} from '../../core/schema.ts';
import { defaultFusion, fusionModes } from '../../fusion/modes.ts';
import { simdVariants } from '../../lower/kernel-call.ts';
import { MOST_LAYERS } from '../../nn/most-layers.ts';
import { batchNormModes } from '../../optim/batch-norm-modes.ts';
import { optimizerSchema } from '../../optim/optimizer-schema.ts';
import { recomputeModes } from '../../recompute/choice.ts';
import { scheduleNames } from '../../schedule/named.ts';
import { learningRateSchema } from '../learning-rate-schema.ts';
import { defaultNoiseDecay } from '../noise-tracker.ts';

/** An empty one is a variable of the shell that is not set. */
const path = (doc: string) => string({ doc, check: (given) => (given === '' ? 'a path' : undefined) });
const positive = (doc: string) => integer({ min: 1, doc });
const layers = { min: 1, max: MOST_LAYERS };
const notTooMany = (listed: readonly number[]) =>
  listed.length > MOST_LAYERS ? `at most ${MOST_LAYERS} of them` : undefined;
const sizes = (doc: string) => list(integer({ min: 1 }), { doc, check: notTooMany });
const oneOrMore = (doc: string) =>
  either([integer({ min: 1 }), list(integer({ min: 1 }), { minLength: 1, check: notTooMany })], { doc });
const dropout = number({ min: 0, below: 1, default: 0, doc: 'probability that an element is dropped in training' });
const activation = choice(['relu', 'gelu', 'tanh', 'sigmoid'], { default: 'relu', doc: 'activation' });

const image = {
  channels: optional(positive("channels of the image; default: the data's")),
  size: optional(oneOrMore("height and width of the image; default: the data's")),
  classes: optional(positive("number of classes; default: the data's")),
};
const normalization = {
  norm: choice(['batch', 'group', 'none'], { default: 'batch', doc: 'normalisation behind each convolution' }),
  groups: integer({ min: 1, default: 8, doc: 'groups of channels of norm group' }),
};

const model = union(
  {
    onnx: {
      file: path('path of the .onnx file'),
      dims: record(integer({ min: 1 }), {
        default: {},
        doc: "sizes of the file's symbols but the batch; default: those of the data",
      }),
      constants: record(either([number(), list(number())]), {
        default: {},
        doc: 'inputs of the file that are not fed but fixed, by name',
      }),
    },
    mlp: {
      inputs: optional(oneOrMore("shape of one sample; default: the data's")),
      hidden: list(integer({ min: 1 }), { default: [64], doc: 'widths of the hidden layers', check: notTooMany }),
      classes: optional(positive("number of classes; default: the data's")),
      activation,
      dropout,
    },
    lenet: {
      ...image,
      widths: optional(
        list(integer({ min: 1 }), {
          minLength: 1,
          doc: 'channels of the convolutions; default 8,16',
          check: notTooMany,
        }),
      ),
      hidden: optional(sizes('widths of the hidden linear layers; default 64')),
      activation,
      pool: choice(['max', 'avg'], { default: 'max', doc: 'pooling' }),
      dropout,
    },
    resnet: {
      ...image,
      widths: list(integer({ min: 1 }), {
        minLength: 1,
        default: [16, 32, 64],
        doc: 'channels of each stage',
        check: notTooMany,
      }),
      blocks: either([integer(layers), list(integer(layers), { minLength: 1 })], {
        default: 3,
        doc: 'blocks of each stage, or one number for all',
      }),
      block: choice(['basic', 'bottleneck'], { default: 'basic', doc: 'two 3×3 convolutions, or 1×1, 3×3, 1×1' }),
      stem: choice(['cifar', 'imagenet'], { default: 'cifar', doc: 'how it begins: 3×3, or 7×7 and a pooling' }),
      zeroInit: optional(boolean({ doc: 'blocks begin as the identity; default: where norm is none' })),
      ...normalization,
    },
    unet: {
      ...image,
      depth: integer({ min: 1, default: 2, doc: 'how often the image is halved' }),
      width: integer({ min: 1, default: 16, doc: 'channels at full size' }),
      convs: integer({ ...layers, default: 2, doc: 'convolutions of each level' }),
      upsampling: choice(['transpose', 'nearest', 'bilinear'], { default: 'transpose', doc: 'how images are doubled' }),
      ...normalization,
      dropout,
    },
    gpt: {
      vocab: optional(positive("tokens there are; default: the data's")),
      context: optional(positive("tokens of one sequence; default: the data's, else 64")),
      layers: integer({ ...layers, default: 2, doc: 'transformer blocks' }),
      heads: integer({ min: 1, default: 2, doc: 'attention heads a block' }),
      width: integer({ min: 1, default: 64, doc: "size of a token's vector, a multiple of heads" }),
      mlpRatio: number({ above: 0, default: 4, doc: "width of a block's perceptron over width" }),
      tied: boolean({ default: true, doc: 'the output layer shares the token embedding' }),
      dropout,
      attention: choice(['fused', 'unfused'], {
        default: 'fused',
        doc: 'without the matrix of its weights, or with it',
      }),
    },
    lstm: {
      vocab: optional(positive("tokens there are; default: the data's")),
      inputs: optional(positive("features of one step, where the data are numbers; default: the data's")),
      context: optional(positive("steps of one sequence; default: the data's, else 64")),
      classes: optional(positive('values of one step of the output; default: the vocabulary')),
      cell: choice(['lstm', 'gru', 'rnn'], { default: 'lstm', doc: 'what a layer is made of' }),
      embedding: optional(positive("size of a token's vector; default: hidden")),
      hidden: { ...oneOrMore('hidden units of each layer, or one number for all'), default: 128 },
      numLayers: optional(integer({ ...layers, doc: 'recurrent layers; default: as many as hidden lists, else 1' })),
      dropout,
      bidirectional: boolean({ default: false, doc: 'layers read the sequence in both directions' }),
    },
  },
  { doc: 'the model: an .onnx file, or a built-in kind with its sizes' },
);

const file = path('path of the data file');
const batches = {
  batchSize: optional(positive('samples a step in mode epochs; default 32')),
  shuffle: choice(['seeded', 'none'], { default: 'seeded', doc: 'order of the samples in mode epochs' }),
};
const setMode = choice(['epochs', 'fixed'], {
  default: 'epochs',
  doc: 'fixed: all is one batch, every step; stream: step k takes index k of a leading axis; epochs: seeded shuffled batches',
});
const fileMode = choice(['fixed', 'stream', 'epochs'], { default: 'fixed', doc: setMode.doc });
const npyFiles = record(path('a .npy file'), {
  doc: 'a .npy file for each input and target, by name',
  check: (files) => (Object.keys(files).length > 0 ? undefined : 'at least one file'),
});
const task = choice(['auto', 'classes', 'segmentation'], {
  default: 'auto',
  doc: 'what y is: a class an image, or a class a pixel (what unet takes)',
});
const fashionDir = optional(path('folder of the IDX files; default where Debian has them'));
const text = {
  file: optional(path('a UTF-8 text; default the vendored book of Genesis')),
  unit: choice(['characters', 'bytes'], { default: 'characters', doc: 'what a token is' }),
  context: optional(positive("tokens a sample; default: the model's, else 64")),
};
const csv = {
  file,
  header: choice(['auto', 'yes', 'no'], {
    default: 'auto',
    doc: 'whether the first line names the columns; auto: where no field of it is a number',
  }),
  delimiter: string({ default: ',', doc: 'what separates columns' }),
  targets: optional(
    list(either([integer(), string()]), { minLength: 1, doc: 'target columns, by name or number; default the last' }),
  ),
  task: choice(['auto', 'classes', 'values'], {
    default: 'auto',
    doc: 'what the targets are; auto: classes where they are one column of integers from 0, or of words',
  }),
};

const data = union(
  {
    file: {
      file,
      mode: fileMode,
      ...batches,
    },
    npy: { files: npyFiles, mode: fileMode, ...batches },
    digits: { task, mode: setMode, ...batches },
    'fashion-mnist': {
      dir: fashionDir,
      task,
      split: choice(['train', 'test'], { default: 'train', doc: 'which part of the data set' }),
      mode: setMode,
      ...batches,
    },
    text: {
      ...text,
      stride: optional(positive('tokens between the starts of samples; default the context')),
      mode: setMode,
      ...batches,
    },
    csv: { ...csv, mode: setMode, ...batches },
  },
  { fallback: 'file', doc: 'what to train on: {"file": "x.safetensors"}, .npy files, or a data set' },
);

const evaluationData = union(
  {
    file: { file },
    npy: { files: npyFiles },
    digits: { task },
    'fashion-mnist': {
      dir: fashionDir,
      task,
      split: choice(['train', 'test'], { default: 'test', doc: 'which part of the data set' }),
    },
    text,
    csv,
  },
  { fallback: 'file', doc: 'held-out data: a file (one batch), .npy files (likewise), or a data set' },
);

const weight = number({ default: 1, doc: 'factor of this loss in the objective' });
const output = string({ doc: 'name of a model output' });
const target = string({ doc: 'name of the target tensor' });
const ignoreIndex = optional(nullable(integer({ doc: 'targets with this value count nothing' })));
const objective = union({
  crossEntropy: { output, target, weight, ignoreIndex },
  nll: { output, target, weight, ignoreIndex },
  mse: { output, target, weight },
  bce: { output, target, weight },
  bceWithLogits: { output, target, weight },
  sum: { output, weight },
  mean: { output, weight },
});

const device = object({
  backend: choice(['wasm', 'reference', 'null'], {
    default: 'wasm',
    doc: 'what computes; null: nothing, to play models that no machine holds',
  }),
  memory: optional(bytes({ doc: 'capacity, rounded down to 64 KiB pages; default as much as needed' })),
  speed: rate({ default: 1, doc: 'relative speed, for planning' }),
});

const link = {
  bandwidth: rate({ doc: 'bytes/s between two devices' }),
  latency: amount({ default: 1e-5, doc: 'seconds until a value arrives' }),
};

const partition = either([
  choice(['auto']),
  object(
    {
      balance: optional(choice(['time', 'memory', 'parameters'], { doc: 'what the stages share evenly' })),
      cuts: optional(list(string(), { doc: 'node or layer names, each beginning a new stage' })),
      stages: optional(record(integer({ min: 0 }), { doc: 'stage by name pattern' })),
      devices: optional(record(integer({ min: 0 }), { doc: 'device by name pattern; the stages follow' })),
      placement: optional(list(integer({ min: 0 }), { minLength: 1, doc: 'device of stage 0, 1, …' })),
    },
    {
      check: (v) =>
        [v.balance, v.cuts, v.stages, v.devices].filter((x) => x !== undefined).length > 1
          ? 'only one of balance, cuts, stages and devices'
          : undefined,
    },
  ),
] as const);

export const experimentSchema = object({
  model,
  data: optional(data),
  objective: optional(list(objective, { minLength: 1, doc: "losses; default: the model's own" })),
  l2: optional(
    object(
      {
        lambda: number({ min: 0, doc: 'λ of λ/2 Σ‖w‖²' }),
        parameters: list(string(), { minLength: 1, doc: 'the parameters w' }),
      },
      { doc: 'adds λ/2 Σ‖w‖² to the objective, once a step' },
    ),
  ),
  frozen: list(string(), { default: [], doc: 'parameters (initialisers) that get no gradient' }),
  batchAxis: record(nullable(integer()), { default: {}, doc: 'axis of the batch by tensor; null: not batched' }),
  devices: either([integer({ min: 1 }), list(device, { minLength: 1 })], {
    default: 1,
    doc: 'how many devices, or a list of them',
  }),
  links: optional(
    either([object(link), list(object({ from: integer({ min: 0 }), to: integer({ min: 0 }), ...link }))] as const, {
      doc: 'speed of the links, for planning: one for all, or a list by pairs of devices; default: two threads of one machine',
    }),
  ),
  microbatches: integer({ min: 1, default: 1, doc: 'M, parts the batch is cut into' }),
  schedule: optional(
    either([choice([...scheduleNames, 'auto']), object({ file: path('a schedule as CSV') })] as const, {
      doc: 'order of the tasks on the devices; default 1f1b, with batchNorm exact gpipe',
    }),
  ),
  stagesPerDevice: optional(
    integer({ min: 1, doc: 'stages that each device owns; default: as the schedule has them, one or two' }),
  ),
  partition: { ...partition, default: 'auto', doc: 'which stage, or which device, computes what' },
  recompute: choice(recomputeModes, {
    default: 'none',
    doc: 'activations computed again instead of kept: all but what comes into a stage (stage), the cheap (selective), or as few as the memory needs (optimal)',
  }),
  fusion: choice(fusionModes, {
    default: defaultFusion,
    doc: 'elementwise operations that follow each other as one pass over memory, with the same bits',
  }),
  batchNorm: choice(batchNormModes, {
    default: 'micro',
    doc: 'statistics of each microbatch (micro), the same with running ones of the whole batch (deferred), or all of the whole batch (exact)',
  }),
  invariant: boolean({
    default: false,
    doc: 'the same bits for every M: samples one by one, sums over the batch as one tree',
  }),
  optimizer: optimizerSchema,
  learningRate: learningRateSchema,
  noise: either(
    [
      boolean(),
      object({
        decay: number({ min: 0, below: 1, default: defaultNoiseDecay, doc: 'what the averages keep at each step' }),
      }),
    ] as const,
    {
      default: false,
      doc: 'estimate the gradient noise scale from the microbatches of each training step',
    },
  ),
  clip: optional(
    object(
      { globalNorm: number({ above: 0, doc: 'largest 2-norm of the gradient over all parameters' }) },
      { doc: 'scales gradients down to a norm before the update' },
    ),
  ),
  steps: optional(positive('steps to train')),
  epochs: optional(positive('epochs to train; default 1')),
  seed: integer({ min: 0, default: 0, doc: 'of first values, shuffling and splits' }),
  eval: optional(
    object(
      {
        every: optional(positive('steps between evaluations; default: an epoch')),
        fraction: optional(number({ above: 0, below: 1, doc: 'part of the data to hold out' })),
        data: optional(evaluationData),
      },
      {
        doc: 'evaluation on held-out data',
        check: (v) => ((v.fraction === undefined) === (v.data === undefined) ? 'one of fraction and data' : undefined),
      },
    ),
  ),
  checkpoint: optional(
    object(
      {
        dir: path('folder for the checkpoints'),
        every: optional(positive('steps between two; default: an epoch. There is always one behind the last step')),
        keep: integer({ min: 1, default: 2, doc: 'how many of the newest are kept' }),
      },
      { doc: 'writes all that a training needs to go on, on any layout, with the same bits' },
    ),
  ),
  resume: optional(
    path('goes on from the newest checkpoint in this folder, or from the one that it is (DIR/step-120)'),
  ),
  simd: choice(simdVariants, {
    default: 'strict',
    doc: 'kernels of WebAssembly devices: strict has the same bits on every machine; relaxed multiplies and adds in one instruction, faster on most processors, with bits of its own',
  }),
  blas: either([choice(['off', 'auto']), string()] as const, {
    default: 'off',
    doc: 'native BLAS for products: none, the one that is installed (auto), or the path of a library; bits depend on it',
  }),
  sweep: optional(
    record(list(any(), { minLength: 1 }), {
      doc: 'for studies: lists of values by key, dots for nested ones; or --sweep.KEY a,b',
    }),
  ),
});

export type Experiment = Infer<typeof experimentSchema>;
export type DataConfig = Infer<typeof data>;
export type EvaluationDataConfig = Infer<typeof evaluationData>;
export type ObjectiveConfig = Infer<typeof objective>;
export type ModelChoice = Experiment['model'];

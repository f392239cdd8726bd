/**
 * The commands, in the order of the help, as plain data: what the help, the parser and the tests of the documentation read. Their
 * code stands in `command.ts`.
 */

export type CommandName =
  | 'train'
  | 'plan'
  | 'simulate'
  | 'partition'
  | 'pack'
  | 'graph'
  | 'grad'
  | 'hvp'
  | 'gradpen'
  | 'hessian'
  | 'noise'
  | 'trace'
  | 'profile'
  | 'export'
  | 'study';

export interface OwnFlag {
  /** As commander writes it: `--out <file>`. */
  readonly flags: string;
  readonly doc: string;
  /** May be given several times. */
  readonly many?: true;
}

export interface CommandSpec {
  readonly name: CommandName;
  readonly summary: string;
  readonly description: string;
  readonly flags: readonly OwnFlag[];
  /** Of commands that take no experiment: what their only argument is, as commander writes it, and its line of help. */
  readonly argument?: { readonly name: string; readonly doc: string };
  /** Names of which the first argument is one, before the experiment. */
  readonly topics?: readonly string[];
  readonly example: string;
}

const json: OwnFlag = { flags: '--json', doc: 'one JSON object on standard output' };
const quiet: OwnFlag = { flags: '--quiet', doc: 'neither plan, nor progress, nor tables' };
const params: OwnFlag = {
  flags: '--params <file>',
  doc: "first values of the parameters, safetensors with the model's names; default: drawn from the seed",
};
const audit: OwnFlag = {
  flags: '--audit',
  doc: 'devices check every access to their memory and measure it by category (slow)',
};
const noCache: OwnFlag = {
  flags: '--no-cache',
  doc: 'measures and plans anew: neither reads nor writes the cache of measurements and plans (PARTITA_CACHE names its folder)',
};
/** Of commands that predict. */
export const profileFlags: readonly OwnFlag[] = [
  {
    flags: '--profile [file]',
    doc: 'costs by measured times: of a file that "partita profile --out" has written, or, without a file, measured on this machine where the cache lacks them',
  },
  {
    flags: '--profile-time <s>',
    doc: 'seconds for which kernels are timed at most, for --profile without a file; default 20',
  },
  noCache,
];
/** Of experiments whose devices have a capacity. */
export const memoryFlag: OwnFlag = {
  flags: '--memory <a,b>',
  doc: 'capacities of the devices in order (32MiB,64MiB); a single one is that of every device',
};

/** Likewise. */
export const backendFlag: OwnFlag = {
  flags: '--backend <name>',
  doc: 'what computes on every device: wasm, reference, or null, which plays models that no machine holds and computes nothing (docs/null-device.md)',
};

/** Of `src/partition/methods.ts`, which the help does not load. */
const methodNames =
  'auto (default), ideals, orders, moves, milp; or a baseline: pipedream, blocks, parameters, equal, single';

/** Commands of later versions: they are refused by name, with what there is instead. */
export const laterCommands: Readonly<Record<string, string>> = {
  report: 'partita study TOPIC, or partita profile --html FILE: both write pages',
  studio: 'partita study TOPIC, whose pages open from disk',
};

export const commands: readonly CommandSpec[] = [
  {
    name: 'train',
    summary: 'train a model',
    description: 'Trains, prints the plan and the progress, and writes the folder of the run.',
    flags: [
      {
        flags: '--out <file>',
        doc: 'result as safetensors: loss [steps] before each update, grad_norm [steps] before clipping, lr [steps], final/PARAM, buffer/NAME',
      },
      {
        flags: '--run-dir <folder>',
        doc: 'folder for params.safetensors, result.json, log.jsonl, plan.json, experiment.json; default runs/MODEL-N',
      },
      { flags: '--plan <file>', doc: 'run a plan stored by "partita plan --plan-out"; without an experiment, its own' },
      { flags: '--batch <n>', doc: 'of null devices: samples a step where the experiment has no data; default 32' },
      noCache,
      params,
      audit,
      quiet,
      json,
    ],
    example: 'partita train --model.kind mlp --data.kind digits --devices 2 --microbatches 4 --epochs 2',
  },
  {
    name: 'plan',
    summary: 'show how an experiment would run: stages, schedule, memory',
    description:
      'Makes the plan of a training and prints it; nothing runs but what --profile and --trials measure. Exit code 1 where it does not fit.',
    flags: [
      { flags: '--plan-out <file>', doc: 'stores the plan, for "partita train --plan"' },
      {
        flags: '--cluster <file>',
        doc: 'plans for the devices and links of this file (docs/simulator.md) instead of its own; with --devices k, for the first k',
      },
      { flags: '--batch <n>', doc: 'samples a step where the experiment has no data; default 32' },
      {
        flags: '--search',
        doc: 'chooses what the experiment leaves open of partition, schedule and microbatches, for the least predicted step time within the memories; shows the Pareto front of time and memory',
      },
      {
        flags: '--least-memory',
        doc: 'finds the smallest capacity, the same for every device, at which the model trains; with the lists below a table of them',
      },
      {
        flags: '--search-devices <a,b>',
        doc: 'numbers of devices to find the least memory of; default those of the experiment',
      },
      {
        flags: '--search-microbatches <a,b>',
        doc: "numbers of microbatches to try; default powers of two to 32, for the least memory the experiment's",
      },
      {
        flags: '--search-schedules <a,b>',
        doc: "schedules to try; default all, for the least memory the experiment's",
      },
      {
        flags: '--search-recompute <a,b>',
        doc: "ways to recompute to find the least memory with (none, stage, selective, optimal); default the experiment's",
      },
      { flags: '--evaluations <n>', doc: 'plans that a search compiles; default 40' },
      { flags: '--time-limit <s>', doc: 'seconds after which a search begins no further plan; default 60' },
      {
        flags: '--trials <n>',
        doc: 'of a search: runs steps of the n plans predicted to be fastest on this machine, and takes the one that is',
      },
      {
        flags: '--trial-time <s>',
        doc: 'seconds for all of these together, but a few steps of each at least; default 10',
      },
      {
        flags: '--recompute-curve',
        doc: 'step time against capacity for every way to recompute, on the partition of this plan (docs/recompute.md)',
      },
      ...profileFlags,
      quiet,
      json,
    ],
    example: 'partita plan --model.kind lenet --data.kind digits --devices 3 --memory 1MiB --microbatches 4',
  },
  {
    name: 'simulate',
    summary: 'play an experiment, or a schedule, without devices',
    description:
      "Plays an experiment's step by its cost model, on the devices that it names or on those of --cluster: how long each works, sends and waits, what determines the step, and what idle devices wait for. Or plays stages whose times are given by any schedule: --stages, --times and --link, or --costs; then prints the clock grid. Nothing runs.",
    flags: [
      {
        flags: '--cluster <file>',
        doc: 'of an experiment: devices and links as JSON (docs/simulator.md), instead of its own; with --devices k, the first k',
      },
      {
        flags: '--jitter <x>',
        doc: 'of an experiment: times vary lognormally with this coefficient of variation (0.05: by 5 %) around their mean',
      },
      { flags: '--jitter-seed <n>', doc: 'of the variation; default 0' },
      { flags: '--draws <n>', doc: 'steps to draw with --jitter, for the spread of the step time; default 100' },
      { flags: '--why', doc: 'of an experiment: what idle devices wait for, down to the root, as a table' },
      {
        flags: '--why-at <device:seconds>',
        doc: 'why a device is idle at a time of the step: the chain of waits (1:0.0005)',
      },
      { flags: '--trace <file>', doc: 'of an experiment: the simulated timeline for https://ui.perfetto.dev' },
      { flags: '--batch <n>', doc: 'samples a step where the experiment has no data; default 32' },
      ...profileFlags,
      { flags: '--stages <n>', doc: 'equal stages, of which --times gives the times' },
      {
        flags: '--times <F,B,W>',
        doc: 'times of one microbatch on one stage, in any unit: forward, backward, weights',
      },
      { flags: '--link <time>', doc: 'time of a message between stages of a chain; default 0' },
      {
        flags: '--costs <file>',
        doc: 'unequal stages: {"stages": [[F, B, W], …], "link": time or [[from, to, time], …], "edges": [[from, to], …]}',
      },
      {
        flags: '--in-flight <n|a,b>',
        doc: 'of given stages: the most microbatches that a device may hold from F to W, one for every stage that holds it; one number, or one a device. auto keeps to it, other schedules that need more are refused',
      },
      {
        flags: '--kept-for-weights <x>',
        doc: 'of --in-flight: the part of a microbatch that is held from B to W; default 1',
      },
      {
        flags: '--minimize <name>',
        doc: 'of given stages and the schedule auto: makespan (default), the end of the last task, or span, the longest that a device takes from its own first start to its last end',
      },
      { flags: '--schedule-out <file>', doc: 'the schedule as CSV, a column a clock' },
      quiet,
      json,
    ],
    example:
      'partita simulate --model.kind lenet --data.kind digits --devices 3 --microbatches 8 --why\n  partita simulate --stages 8 --microbatches 24 --schedule zb-h1 --times 18.522,18.086,9.337 --link 0.601',
  },
  {
    name: 'partition',
    summary: 'place the parts of any graph on devices',
    description:
      'Places the parts of a graph on devices so that the largest load is as small as possible, and says how far from the best that may be. Reads operator graphs (JSON), profiles of layers (text), experiments and ONNX models; nothing runs.',
    argument: { name: '<graph>', doc: 'operator graph or experiment (JSON), layer profile (text), or model (ONNX)' },
    flags: [
      { flags: '--devices <k>', doc: "accelerators; default the file's (maxFPGAs, devices), else 2" },
      {
        flags: '--cpus <n>',
        doc: 'CPUs beside them, of operator graphs: no limit of memory, free transfers; default 0',
      },
      { flags: '--contiguous', doc: 'stages in order: no edge between forward nodes leads to an earlier device' },
      { flags: '--memory <bytes>', doc: "capacity of each accelerator (16GiB); default the file's, else no limit" },
      {
        flags: '--link-bandwidth <bytes/s>',
        doc: 'of profiles (default: transfers are free) and models (default: threads of one machine)',
      },
      { flags: '--method <name>', doc: methodNames },
      {
        flags: '--time-limit <s>',
        doc: 'seconds from the start of the command, reading included, for the best so far with its bound; default 60, 18 where parts times devices exceed 20,000',
      },
      { flags: '--seed <n>', doc: 'of searches that are random; default 0' },
      { flags: '--batch <n>', doc: "samples a step of a model; default the file's, else 32" },
      { flags: '--compare', doc: 'what other ways to place it come to, beside' },
      json,
    ],
    example: 'partita partition graph.json --devices 4 --contiguous --compare',
  },
  {
    name: 'pack',
    summary: 'place buffers in memory by their lifetimes',
    description:
      'Finds offsets for buffers with given lifetimes, so that those alive together do not overlap, by an exact search: within a capacity, or as low as possible. Reads CSV with the columns id, lower, upper and size; a buffer is alive on [lower, upper). Exit code 1 where it does not fit. Ctrl-C ends the search with the best so far.',
    argument: { name: '<table>', doc: 'CSV with the columns id, lower, upper, size in any order; others are kept' },
    flags: [
      {
        flags: '--capacity <bytes>',
        doc: 'a height that is enough (1MiB); without it, or where none is that low, the height is minimised',
      },
      {
        flags: '--time-limit <s>',
        doc: 'seconds from the start of the command for the best so far with its bound; default 60',
      },
      {
        flags: '--out <file>',
        doc: 'the table with one more column, offset; written where it fits, or without --capacity',
      },
      json,
    ],
    example: 'partita pack buffers.csv --capacity 1MiB --out packed.csv',
  },
  {
    name: 'graph',
    summary: 'show the computational graph',
    description:
      'Prints the graph as text, DOT or SVG: the model, its derivative, the update; stages in colours where it is cut. Nothing runs on devices.',
    flags: [
      {
        flags: '--mode <name>',
        doc: 'what to show: forward (the model, default), gradients (and its derivative), train (and the update)',
      },
      { flags: '--format <name>', doc: 'text (default), dot (Graphviz) or svg; also by the ending of --out' },
      { flags: '--out <file>', doc: 'writes there instead of standard output' },
      {
        flags: '--values',
        doc: 'of small graphs, the value at every edge, in f64; in mode forward also the gradient of the objective, or of the only result where that is one number',
      },
      {
        flags: '--input <name=numbers>',
        doc: "value of an input or parameter (x=1,2,3; one number fills it), instead of the data's; may be given several times",
        many: true,
      },
      params,
      {
        flags: '--batch <n>',
        doc: 'samples a step where the experiment has no data; default that of an ONNX file, else 32, with --values 1',
      },
      json,
    ],
    example: 'partita graph --model.kind lenet --data.kind digits --devices 2 --mode gradients --out graph.svg',
  },
  {
    name: 'grad',
    summary: 'one forward and backward',
    description: 'Computes loss, outputs and gradients of the first batch.',
    flags: [
      {
        flags: '--out <file>',
        doc: 'result as safetensors: loss [], output/NAME, grad/PARAM, grad_input/INPUT (of the whole batch), buffer/NAME',
      },
      {
        flags: '--compare-full-batch',
        doc: "also computes the gradients of the batch at once, and prints beside the microbatches' bits, difference and rounding bound of each; the full batch must fit on the devices",
      },
      noCache,
      params,
      audit,
      quiet,
      json,
    ],
    example: 'partita grad --model.kind mlp --data.kind digits --devices 2 --out gradients.safetensors',
  },
  {
    name: 'hvp',
    summary: 'Hessian-vector product',
    description: 'Computes H·v of the objective of the first batch, and vᵀ·H·v, without the Hessian.',
    flags: [
      {
        flags: '--direction <file>',
        doc: 'the vector v: safetensors with v/PARAM for every parameter that is not frozen',
      },
      { flags: '--out <file>', doc: 'result as safetensors: loss [], grad/PARAM, hvp/PARAM, vhv [1]' },
      noCache,
      params,
      audit,
      quiet,
      json,
    ],
    example: 'partita hvp experiment.json --direction v.safetensors --devices 2 --microbatches 4 --out hvp.safetensors',
  },
  {
    name: 'gradpen',
    summary: 'gradient penalty and its gradient',
    description:
      'Computes P = Σ (∂L/∂z)² over the entries of a tensor z of the model, and ∂P/∂PARAM, of the first batch.',
    flags: [
      { flags: '--at <tensor>', doc: 'z: an input, or any tensor of the model by its name' },
      { flags: '--out <file>', doc: 'result as safetensors: penalty [1], gradpen/PARAM' },
      noCache,
      params,
      audit,
      quiet,
      json,
    ],
    example: 'partita gradpen --model.kind mlp --data.kind digits --at x --devices 2 --out penalty.safetensors',
  },
  {
    name: 'hessian',
    summary: 'the full Hessian of a small model',
    description: 'Computes the Hessian of the objective of the first batch, one Hessian-vector product a row.',
    flags: [
      {
        flags: '--out <file>',
        doc: 'result as safetensors: hessian [n, n], parameters row-major in the order of the model',
      },
      noCache,
      params,
      audit,
      quiet,
      json,
    ],
    example: 'partita hessian --model.kind mlp --model.hidden 2 --data.kind digits --out hessian.safetensors',
  },
  {
    name: 'noise',
    summary: 'per-example gradient norms and the gradient noise scale',
    description:
      'Computes the gradient of every example of the first batch, one after another, and from them the gradient noise scale (McCandlish et al. 2018): how large a batch is worth its samples. --microbatches says how many examples are on the way at once.',
    flags: [
      {
        flags: '--pairs <a:b,…>',
        doc: 'sizes of small and big chunks to estimate the noise scale from too; default: powers of two with the whole batch, and three pairs within it',
      },
      {
        flags: '--out <file>',
        doc: 'result as safetensors: loss [1], grad/PARAM, per_example_loss [n], per_example_grad_norm [n], mean_grad_norm_sq, tr_sigma, b_simple [1] and their variants, pairs [K, 2], pair/NAME [K], pair_first/NAME [K]',
      },
      noCache,
      params,
      audit,
      quiet,
      json,
    ],
    example:
      'partita noise --model.kind mlp --data.kind digits --data.batchSize 256 --devices 2 --out noise.safetensors',
  },
  {
    name: 'trace',
    summary: 'record a timeline of one step',
    description: 'Trains a few steps, records one and writes it in the Chrome trace format (https://ui.perfetto.dev).',
    flags: [
      { flags: '--out <file>', doc: 'the timeline; default trace.json' },
      { flags: '--warm-up <n>', doc: 'steps before the one recorded; default 3' },
      noCache,
      params,
      audit,
      quiet,
      json,
    ],
    example: 'partita trace --model.kind lenet --data.kind digits --devices 2 --microbatches 4 --out trace.json',
  },
  {
    name: 'profile',
    summary: 'time a step by op, kernel and shape',
    description:
      "Runs steps on devices, records every instruction, and prints where the time went, beside the roofline of this machine, whose arithmetic is that of our own products. FLOPs and bytes are the op's own count, a convolution's padding included, so that one of small images may be above 100 %. Every second step runs without the recorder: its time is the one that is told.",
    flags: [
      { flags: '--out <file>', doc: 'the times of the kernels, for "--profile FILE" of other commands' },
      { flags: '--html <file>', doc: 'a page with the roofline, where the time of a step goes, and all tables' },
      { flags: '--timed-steps <n>', doc: 'recorded steps, and as many that are not; default 20' },
      { flags: '--warm-up <n>', doc: 'steps before them; default 5' },
      { flags: '--rows <n>', doc: 'shapes in the table, the largest first; default 20. --json has all' },
      noCache,
      params,
      quiet,
      json,
    ],
    example: 'partita profile --model.kind lenet --data.kind digits --microbatches 4 --out profile.json',
  },
  {
    name: 'export',
    summary: 'write the model as an ONNX file',
    description:
      'Writes the model, built for evaluation, with its parameters as an ONNX file: for any batch where it can be. Nothing runs on devices.',
    flags: [
      { flags: '--out <file>', doc: 'the ONNX file' },
      {
        flags: '--params <file>',
        doc: "values of parameters and buffers: params.safetensors of a run's folder; default: drawn from the seed, or those of the model's own file",
      },
      { flags: '--batch <n>', doc: 'a file for batches of this size; default: of any size, where the model allows it' },
      { flags: '--opset <n>', doc: "version of ONNX's operators, 17 (default) to 19" },
      { flags: '--integers <type>', doc: 'type of integer inputs and outputs: INT64 (default) or INT32' },
      quiet,
      json,
    ],
    example:
      'partita export --model.kind lenet --data.kind digits --params runs/lenet-1/params.safetensors --out lenet.onnx',
  },
  {
    name: 'study',
    summary: 'sweep an experiment and compare: batch, memory, partition, schedule, scaling',
    description:
      'Runs the experiments of a sweep and writes tables (CSV), JSON and a page (HTML) into a folder. Study "batch": what batch size and microbatches cost in memory and time, and what they do to the learning. "memory": where every byte of training and prediction goes, by device, category, tensor and time. "partition": every way to cut the model, on some numbers of devices. "schedule": every schedule and number of microbatches, in time and memory. "scaling": from 1 to 1,024 devices on paper. Predictions stand beside measurements where this machine has a core for each device.',
    topics: ['batch', 'memory', 'partition', 'schedule', 'scaling'],
    flags: [
      {
        flags: '--study-dir <folder>',
        doc: 'folder for study.json, index.html and the tables; a study begun there before goes on; default studies/MODEL-N',
      },
      { flags: '--out <folder>', doc: 'the same as --study-dir' },
      {
        flags: '--parts <a,b>',
        doc: 'only these of batch: timing, memory, capacity, gradients, learning, noise; of memory: training, prediction; of partition and schedule: prediction, timing; of scaling: strong, weak, links, timing; default all',
      },
      {
        flags: '--measure',
        doc: 'memory: runs every layout too, and puts what its devices find in their memories beside the plan',
      },
      {
        flags: '--batch <a,b>',
        doc: 'memory: samples a step of an experiment without data, a layout each; default 32',
      },
      { flags: '--repeat <n>', doc: 'sessions in which each layout is timed; default 3' },
      { flags: '--timed-steps <n>', doc: 'steps that count in each session; default 10' },
      { flags: '--methods <a,b>', doc: 'partition: only these ways to cut; default all' },
      { flags: '--time-limit <seconds>', doc: 'partition: of each way to cut; default 10' },
      { flags: '--seeds <n>', doc: 'trainings of each batch size and rate; default 3' },
      {
        flags: '--lr-rules <a,b>',
        doc: 'how the rate follows the batch size: none, linear, sqrt, retuned; default all',
      },
      {
        flags: '--target-loss <x>',
        doc: 'loss to reach (held-out where there is evaluation); default: one that all reach',
      },
      { flags: '--target-accuracy <x>', doc: 'held-out accuracy to reach, 0 to 1, instead of a loss' },
      {
        flags: '--capacity <a,b>',
        doc: "bytes of each device (8MiB) in the search for the largest batch; default the devices' own",
      },
      { flags: '--noise-samples <n>', doc: 'samples of an estimate of the gradient noise; default 512' },
      { flags: '--parallel <n>', doc: 'trainings at once; timed steps always run alone; default 1' },
      { flags: '--quick', doc: 'a first look: fewer layouts, one seed and session, 3 epochs' },
      quiet,
      json,
    ],
    example:
      'partita study batch --model.kind mlp --data.kind digits --devices 2 --sweep.microbatches 1,2,4 --sweep.data.batchSize 16,64,256',
  },
];

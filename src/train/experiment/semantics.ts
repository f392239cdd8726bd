import { existsSync } from 'node:fs';
import { joinProblems, UsageError } from '../../core/errors.ts';
import { type Problem, remedyOf, sentence } from '../../core/schema.ts';
import { linkProblems } from '../../cost/links.ts';
import { hiddenSizes } from '../../nn/models/lstm.ts';
import { momentumKinds } from '../../optim/optimizer.ts';
import { defaultStagesPerDevice, unevenDevice } from '../../plan/stages.ts';
import type { Experiment } from './schema.ts';
import { sweepProblems } from './sweep.ts';

/** What single keys cannot tell: keys that contradict each other, and files that are not there. Throws with all problems. */
export function checkSemantics(
  experiment: Experiment,
  where: string,
  { needsObjective = true }: { readonly needsObjective?: boolean } = {},
): void {
  const problems = [...checks, ...(needsObjective ? [objectiveCheck] : [])].flatMap((check) => check(experiment));
  if (problems.length === 0) return;
  throw new UsageError('experiment-invalid', `${where}: ${joinProblems(problems.map(sentence))}`, {
    fields: { file: where, problems },
    remedy: flagsOf(problems) ?? remedyOf(problems),
  });
}

/** The remedies as flags of one command line, where all of them are flags. */
function flagsOf(problems: readonly Problem[]): string | undefined {
  const remedies = problems.map((p) => p.remedy);
  return remedies.every((r) => r?.startsWith('--')) ? remedies.join(' ') : undefined;
}

/** For a plan's lists of devices and stages to fit in memory. */
export const MOST_STAGES = 2 ** 20;

type Check = (experiment: Experiment) => Problem[];

const objectiveCheck: Check = ({ model, objective }) =>
  model.kind === 'onnx' && !objective
    ? [
        {
          key: 'objective',
          expected: 'the losses, which an ONNX file does not have',
          got: 'nothing: it is required',
          remedy: `--objective '[{"kind": "crossEntropy", "output": "logits", "target": "y"}]'`,
        },
      ]
    : [];

const checks: readonly Check[] = [
  ({ steps, epochs }) =>
    steps !== undefined && epochs !== undefined
      ? [
          {
            key: 'epochs',
            expected: 'one of steps and epochs',
            got: `steps ${steps} and epochs ${epochs}`,
            remedy: 'leave steps or epochs out',
          },
        ]
      : [],
  ({ optimizer: o }) =>
    o.kind === 'sgd' && o.nesterov && (o.momentum === 0 || o.dampening !== 0)
      ? [
          {
            key: 'optimizer.nesterov',
            expected: 'momentum > 0 and dampening 0 with it',
            got: `momentum ${o.momentum} and dampening ${o.dampening}`,
            remedy: '--optimizer.momentum 0.9 --optimizer.dampening 0',
          },
        ]
      : [],
  ({ learningRate: r, steps }) => {
    if (r.kind === 'warmupCosine' && r.totalSteps <= r.warmupSteps) {
      return [
        {
          key: 'learningRate.totalSteps',
          expected: `more than warmupSteps (${r.warmupSteps})`,
          got: String(r.totalSteps),
          remedy: `--learningRate.totalSteps ${r.warmupSteps + 1}`,
        },
      ];
    }
    if (r.kind === 'oneCycle' && steps !== undefined && r.totalSteps < steps) {
      return [
        {
          key: 'learningRate.totalSteps',
          expected: `at least steps (${steps})`,
          got: String(r.totalSteps),
          remedy: `--learningRate.totalSteps ${steps}`,
        },
      ];
    }
    if (r.kind === 'values' && steps !== undefined && r.values.length < steps) {
      return [
        {
          key: 'learningRate.values',
          expected: `a rate for each of ${steps} steps`,
          got: `${r.values.length} rates`,
          remedy: `--steps ${r.values.length}`,
        },
      ];
    }
    return [];
  },
  ({ learningRate: r, optimizer: o }) =>
    r.kind === 'oneCycle' && r.cycleMomentum && !momentumKinds.includes(o.kind)
      ? [
          {
            key: 'learningRate.cycleMomentum',
            expected: `an optimizer with momentum or beta1 (${momentumKinds.join(', ')}), or false`,
            got: o.kind,
            remedy: '--learningRate.cycleMomentum false',
          },
        ]
      : [],
  ({ data }) =>
    data && data.mode !== 'epochs' && data.batchSize !== undefined
      ? [
          {
            key: 'data.batchSize',
            expected: `mode "epochs" with it`,
            got: `mode ${JSON.stringify(data.mode)}`,
            remedy: '--data.mode epochs',
          },
        ]
      : [],
  ({ data, microbatches }) =>
    data?.mode === 'epochs' && microbatches > (data.batchSize ?? defaultBatchSize)
      ? [
          {
            key: 'microbatches',
            expected: `at most the batch, ${data.batchSize ?? defaultBatchSize}`,
            got: String(microbatches),
            remedy: `--microbatches ${data.batchSize ?? defaultBatchSize}`,
          },
        ]
      : [],
  ({ model }) =>
    model.kind === 'gpt' && model.width % model.heads !== 0
      ? [{ key: 'model.width', expected: `a multiple of heads (${model.heads})`, got: String(model.width) }]
      : [],
  ({ model }) =>
    model.kind === 'lstm' && !hiddenSizes(model)
      ? [
          {
            key: 'model.numLayers',
            expected: `${(model.hidden as number[]).length}, as many as hidden lists, or nothing`,
            got: String(model.numLayers),
            remedy: `--model.numLayers ${(model.hidden as number[]).length}`,
          },
        ]
      : [],
  ({ model }) =>
    model.kind === 'lstm' && model.vocab !== undefined && model.inputs !== undefined
      ? [
          {
            key: 'model.inputs',
            expected: 'one of vocab (tokens) and inputs (numbers)',
            got: 'both',
            remedy: 'leave model.vocab or model.inputs out',
          },
        ]
      : [],
  (experiment) => {
    const { partition } = experiment;
    if (partition === 'auto') return [];
    const count = deviceCount(experiment);
    const { placement, cuts, stages, devices } = partition;
    const named = cuts ? cuts.length + 1 : stages ? 1 + Math.max(0, ...Object.values(stages)) : undefined;
    const problems: Problem[] = [];
    const away = Object.entries(devices ?? {}).find(([, d]) => d >= count);
    if (away) {
      problems.push({
        key: `partition.devices.${away[0]}`,
        expected: `a device from 0 to ${count - 1}`,
        got: String(away[1]),
        remedy: `--devices ${Math.max(...Object.values(devices!)) + 1}`,
      });
    }
    if (devices && placement) {
      problems.push({
        key: 'partition.placement',
        expected: 'nothing beside partition.devices, which says where every node lies',
        got: JSON.stringify(placement),
      });
    }
    const outside = placement?.find((d) => d >= count);
    if (outside !== undefined) {
      problems.push({
        key: 'partition.placement',
        expected: `devices 0 to ${count - 1}`,
        got: `device ${outside}`,
        remedy: `--devices ${Math.max(...placement!) + 1}`,
      });
    }
    if (placement && named !== undefined && placement.length !== named) {
      problems.push({
        key: 'partition.placement',
        expected: `a device for each of ${named} stages`,
        got: `${placement.length} devices`,
        remedy: `list ${named} devices in partition.placement, one a stage`,
      });
    }
    // A schedule from a file has a placement of its own.
    const each = experiment.stagesPerDevice ?? defaultStagesPerDevice(experiment.schedule);
    if (!placement && named !== undefined && named > count * each && typeof experiment.schedule !== 'object') {
      problems.push({
        key: `partition.${cuts ? 'cuts' : 'stages'}`,
        expected: `at most ${count * each} stages for ${count} devices, or a placement`,
        got: `${named} stages`,
        remedy: `--devices ${Math.ceil(named / each)}, or --stagesPerDevice ${Math.ceil(named / count)}`,
      });
    }
    return problems;
  },
  ({ stagesPerDevice, partition }) => {
    if (stagesPerDevice === undefined || partition === 'auto') return [];
    const key = 'stagesPerDevice';
    if (partition.devices) {
      return [{ key, expected: 'nothing beside partition.devices, whose stages follow', got: String(stagesPerDevice) }];
    }
    const other = partition.placement && unevenDevice(partition.placement, stagesPerDevice);
    if (!other) return [];
    const got = `${stagesPerDevice}, and the placement has ${other.stages} on device ${other.device}`;
    const expected = 'as many as the placement has on each device, or nothing';
    return [{ key, expected, got, remedy: `leave ${key} out` }];
  },
  (experiment) => {
    const { links } = experiment;
    if (!Array.isArray(links)) return [];
    return linkProblems(links, deviceCount(experiment)).map(({ entry, ...problem }) => ({
      key: `links.${entry}`,
      ...problem,
    }));
  },
  ({ data, eval: evaluation }) =>
    evaluation?.fraction !== undefined && (data?.kind === 'file' || data?.kind === 'npy')
      ? [
          {
            key: 'eval.fraction',
            expected: 'a data set to hold out from; give eval.data with files',
            got: data.kind === 'file' ? 'data.file' : 'data.files',
            remedy: 'leave eval.fraction out, and give eval.data',
          },
        ]
      : [],
  ({ data, eval: evaluation }) =>
    evaluation?.fraction !== undefined && data?.mode === 'fixed'
      ? [{ key: 'eval.fraction', expected: 'mode "epochs" with it', got: 'mode "fixed"', remedy: '--data.mode epochs' }]
      : [],
  ({ simd, devices }) =>
    simd === 'relaxed' && typeof devices !== 'number' && devices.every(({ backend }) => backend === 'reference')
      ? [
          {
            key: 'simd',
            expected: '"strict" with devices of backend "reference", which run none of these kernels',
            got: JSON.stringify(simd),
            remedy: '--simd strict, or --backend wasm',
          },
        ]
      : [],
  ({ sweep }) => sweepProblems(sweep ?? {}),
  ({ devices, stagesPerDevice = 1 }) => {
    const count = typeof devices === 'number' ? devices : devices.length;
    if (count * stagesPerDevice <= MOST_STAGES) return [];
    const key = count > MOST_STAGES ? 'devices' : 'stagesPerDevice';
    const got = count > MOST_STAGES ? `${count} devices` : `${count} devices of ${stagesPerDevice} stages`;
    return [
      { key, expected: `at most ${MOST_STAGES} stages on all devices`, got, remedy: `a smaller number in ${key}` },
    ];
  },
  ({ devices, blas }) =>
    blas === 'off' || typeof devices === 'number' || devices.some((d) => d.backend === 'wasm')
      ? []
      : [
          {
            key: 'blas',
            expected: '"off" where no device has the backend "wasm", whose products it takes over',
            got: JSON.stringify(blas),
            remedy: '--blas off',
          },
        ],
  ({ devices }) => {
    if (typeof devices === 'number') return [];
    const nothing = devices.findIndex((d) => d.backend === 'null');
    const computes = devices.findIndex((d) => d.backend !== 'null');
    if (nothing < 0 || computes < 0) return [];
    return [
      {
        key: `devices.${computes}.backend`,
        expected: `"null" as that of device ${nothing}: what a null device sends is nothing that another could use`,
        got: JSON.stringify(devices[computes]!.backend),
        remedy: '--backend null',
      },
    ];
  },
  ({ model, data, eval: evaluation, schedule }) =>
    [
      ['model.file', model.kind === 'onnx' ? model.file : undefined],
      ['data.file', data && 'file' in data ? data.file : undefined],
      ['eval.data.file', evaluation?.data && 'file' in evaluation.data ? evaluation.data.file : undefined],
      ['schedule.file', typeof schedule === 'object' ? schedule.file : undefined],
      ...filesOf('data', data),
      ...filesOf('eval.data', evaluation?.data),
    ].flatMap(([key, path]) =>
      path === undefined || existsSync(path)
        ? []
        : [
            {
              key: key!,
              expected: 'a file',
              got: `no such file: ${path}`,
              remedy: `give ${key}, the path of a file that is there`,
            },
          ],
    ),
];

const filesOf = (key: string, data: object | undefined): [key: string, path: string][] =>
  data && 'files' in data
    ? Object.entries(data.files as Record<string, string>).map(([name, path]) => [`${key}.files.${name}`, path])
    : [];

export const defaultBatchSize = 32;

export const deviceCount = ({ devices }: Experiment): number =>
  typeof devices === 'number' ? devices : devices.length;

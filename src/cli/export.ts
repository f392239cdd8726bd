import { UsageError } from '../core/errors.ts';
import { formatBytes, formatCount } from '../core/format.ts';
import { elementCount, type HostTensor } from '../core/types.ts';
import { writeFileAtomic } from '../formats/atomic.ts';
import { type ExportedModel, exportModel } from '../formats/onnx/export.ts';
import { type Model, someGraph } from '../optim/model.ts';
import { prepareExperiment, readParameters } from '../train/experiment/prepare.ts';
import { initialValue } from '../train/fill.ts';
import { loadExperiment } from './experiment.ts';
import { choiceOf, type Invocation, pathOf, textOf, wholeNumberOf } from './invocation.ts';

/** Writes the experiment's model, with given or first parameters, as an ONNX file. */
export async function run(invocation: Invocation): Promise<number> {
  const out = textOf(invocation, 'out');
  if (out === undefined) {
    throw new UsageError('command-line', 'export needs a file to write', {
      fields: { flag: 'out' },
      remedy: '--out model.onnx',
    });
  }
  const opset = wholeNumberOf(invocation, 'opset', 'opset', 1);
  const integers = choiceOf(invocation, 'integers', ['INT64', 'INT32']);
  const batch = wholeNumberOf(invocation, 'batch', 'batch', 1);
  const { experiment, where } = loadExperiment(invocation);
  const { model } = prepareExperiment(experiment, { where, needsData: false, needsObjective: false });
  const params = pathOf(invocation, 'params');
  const parameters = params === undefined ? undefined : readParameters(params, model);
  const values = withFirstValues(model, parameters, experiment.seed);
  const exported = exportModel(model, {
    parameters: values,
    batch,
    ...(opset === undefined ? {} : { opset }),
    ...(integers === undefined ? {} : { integers }),
  });
  await writeFileAtomic(out, exported.bytes);
  const summary = {
    parameters: someGraph(model).parameters.reduce((sum, p) => sum + elementCount(p.shape), 0),
    from:
      params ?? (experiment.model.kind === 'onnx' ? 'those of its file' : `first values of seed ${experiment.seed}`),
  };
  if (invocation.json) {
    const { bytes, batch: size, why } = exported;
    const result = { version: 1, command: 'export', model: model.name, batch: size, fixedBecause: why ?? null };
    process.stdout.write(`${JSON.stringify({ ...result, ...summary, bytes: bytes.length, out })}\n`);
  } else if (!invocation.quiet) {
    process.stdout.write(
      [
        `${model.name}: ${formatCount(summary.parameters)} numbers (${summary.from}), ${formatBytes(exported.bytes.length)}`,
        batchLine(exported),
        `written to ${out}\n`,
      ].join('\n'),
    );
  }
  return 0;
}

function batchLine({ batch, why }: ExportedModel): string {
  if (batch === 'symbolic') return 'for any batch: its size is the symbol "batch"';
  return why === undefined ? `for batches of ${batch}` : `for batches of ${batch} only: ${why}`;
}

/** Values of all parameters and buffers: those given, the others as a session with this seed begins with them. */
function withFirstValues(
  model: Model,
  given: ReadonlyMap<string, HostTensor> | undefined,
  seed: number,
): Map<string, HostTensor> {
  const graph = someGraph(model);
  return new Map(
    [...graph.parameters, ...graph.sources('buffer')].map(({ name, type, node }) => [
      name,
      given?.get(name) ?? initialValue(type, node.source!.init!, seed, name),
    ]),
  );
}

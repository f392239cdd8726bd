import { FormatError, UsageError } from '../core/errors.ts';
import { JsonError, parseJson } from '../core/json.ts';
import { readText } from '../formats/read-file.ts';
import type { ForeignGraph, ForeignRequest } from '../partition/foreign-graph.ts';
import { readLayerProfile } from '../partition/read-layer-profile.ts';
import { operatorGraphOf } from '../partition/read-operator-graph.ts';
import type { Invocation } from './invocation.ts';

export interface PartitionRequest extends ForeignRequest {
  /** Samples a step of models. */
  readonly batch?: number;
}

/** The graph of a file, by what is in it: operator graph, layer profile, experiment, or an ONNX model by its name. */
export async function readGraph(
  invocation: Invocation,
  file: string,
  request: PartitionRequest,
): Promise<ForeignGraph> {
  if (file.endsWith('.onnx')) return readModel(invocation, file, request);
  const text = readText(file);
  if (!/^\s*[{[]/.test(text)) {
    refuse(request, 'batch', file, 'a profile has the batch that it was measured with');
    return readLayerProfile(text, file, request);
  }
  let json: unknown;
  try {
    json = parseJson(text);
  } catch (cause) {
    if (!(cause instanceof JsonError)) throw cause;
    // Of an experiment that cannot be read, what reads experiments says what is wrong.
    if (namesModel(text)) return readModel(invocation, file, request);
    throw new FormatError('graph-json', `${file} ${cause.message}`, {
      fields: { file, ...cause.twice },
      remedy: cause.remedy(
        'docs/partition.md describes the format; the file is JSON, without comments and trailing commas',
      ),
      cause,
    });
  }
  if (typeof json === 'object' && json !== null && 'model' in json) return readModel(invocation, file, request);
  refuse(request, 'batch', file, 'a graph of operators has the times of its own batch');
  refuse(request, 'linkBandwidth', file, 'the edges of a graph of operators have their costs in time');
  return operatorGraphOf(json, file, request);
}

/** Whether a text that is not quite JSON is meant as an experiment. */
const namesModel = (text: string): boolean => /"model"\s*:/.test(text) && !/"nodes"\s*:/.test(text);

const flagOf = { batch: 'batch', linkBandwidth: 'link-bandwidth', cpus: 'cpus' } as const;

function refuse(request: PartitionRequest, key: keyof typeof flagOf, file: string, why: string): void {
  if (request[key] === undefined) return;
  throw new UsageError('command-line', `--${flagOf[key]} says nothing about ${file}: ${why}`, {
    fields: { flag: flagOf[key], file },
    remedy: `leave --${flagOf[key]} out`,
  });
}

/** What models need is most of the library, and loading it takes longer than reading a graph of thousands of nodes. */
async function readModel(invocation: Invocation, file: string, request: PartitionRequest): Promise<ForeignGraph> {
  refuse(request, 'cpus', file, 'times are those of a WebAssembly core, whatever the device');
  const { modelProblem } = await import('./partition-model.ts');
  return modelProblem(invocation, request);
}

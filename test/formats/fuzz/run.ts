/** Feeds damaged files to the parsers and watches time and memory. */
import { readdirSync, readFileSync, statSync, writeSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { PartitaError } from '../../../src/core/errors.ts';
import { decodeOnnx } from '../../../src/formats/onnx/decode.ts';
import { prepareImport } from '../../../src/formats/onnx/importer.ts';
import { naturalDType, toHostTensor } from '../../../src/formats/raw-tensor.ts';
import { readSafetensors } from '../../../src/formats/safetensors.ts';
import { onnxBytes } from '../onnx/build.ts';
import { mutateBytes, mutateHeader, mutateModel, Random } from './mutate.ts';
import { samples } from './samples.ts';

export interface FuzzOptions {
  readonly seed: number;
  readonly files: number;
  /** A file descriptor that is told which file is read, so that whoever ends a hanging run knows it. */
  readonly progress?: number;
}

export interface FuzzSummary {
  readonly files: number;
  readonly accepted: number;
  /** How often each error code refused a file. */
  readonly refused: ReadonlyMap<string, number>;
  readonly slowestSeconds: number;
  /** Growth of memory over the run, heap and buffers. */
  readonly grownBytes: number;
  /** What must not happen: another error than ours, or too long. `index` makes the file again. */
  readonly failures: readonly { readonly index: number; readonly format: string; readonly what: string }[];
}

const cases = fileURLToPath(new URL('../../oracle/cases/', import.meta.url));
const maxSeedBytes = 30_000;
/** A file of the size of the seeds is read in milliseconds; a second is what a file may take at most. */
const maxSeconds = 1;

function caseFiles(suffix: string): Uint8Array[] {
  return readdirSync(cases, { recursive: true, encoding: 'utf8' })
    .filter((f) => f.endsWith(suffix) && statSync(cases + f).size <= maxSeedBytes)
    .sort()
    .map((f) => new Uint8Array(readFileSync(cases + f)));
}

function readOnnx(bytes: Uint8Array): void {
  const importer = prepareImport(decodeOnnx(bytes, { where: 'fuzz.onnx' }));
  importer.build(importer.fileBatch ?? 3, 'evaluation');
}

function readTensors(bytes: Uint8Array): void {
  for (const [name, tensor] of readSafetensors(bytes, 'fuzz.safetensors')) {
    const dtype = naturalDType(tensor.dtype);
    if (dtype) toHostTensor(tensor, dtype, name);
  }
}

/** Three of four files are ONNX; half of each are damaged bytes, half well-formed with other contents. */
export function fuzz({ seed, files, progress }: FuzzOptions): FuzzSummary {
  const models = [...caseFiles('.onnx'), ...samples.map((text) => onnxBytes(text))];
  const tensors = caseFiles('.safetensors');
  const refused = new Map<string, number>();
  const failures: { index: number; format: string; what: string }[] = [];
  let accepted = 0;
  let slowestSeconds = 0;
  const used = () => {
    const { heapUsed, arrayBuffers } = process.memoryUsage();
    return heapUsed + arrayBuffers;
  };
  const before = used();
  let most = before;
  for (let index = 0; index < files; index++) {
    if (progress !== undefined) writeSync(progress, String(index).padEnd(12), 0);
    const random = new Random(Math.imul(seed, 0x9e3779b1) + index);
    const isModel = index % 4 !== 3;
    const seeds = isModel ? models : tensors;
    const file = random.pick(seeds);
    const structured = random.below(2) === 0;
    const bytes = !structured
      ? mutateBytes(file, random.pick(seeds), random)
      : isModel
        ? mutateModel(file, random)
        : mutateHeader(file, random);
    const format = isModel ? 'onnx' : 'safetensors';
    const start = performance.now();
    try {
      (isModel ? readOnnx : readTensors)(bytes);
      accepted++;
    } catch (error) {
      if (error instanceof PartitaError) refused.set(error.code, (refused.get(error.code) ?? 0) + 1);
      else
        failures.push({
          index,
          format,
          what: (error as Error).stack?.split('\n').slice(0, 3).join(' ') ?? String(error),
        });
    }
    const seconds = (performance.now() - start) / 1000;
    slowestSeconds = Math.max(slowestSeconds, seconds);
    if (seconds > maxSeconds) failures.push({ index, format, what: `took ${seconds.toFixed(1)} s` });
    if (index % 64 === 0) most = Math.max(most, used());
  }
  return { files, accepted, refused, slowestSeconds, grownBytes: Math.max(most, used()) - before, failures };
}

export function printSummary({ files, accepted, refused, slowestSeconds, grownBytes, failures }: FuzzSummary): string {
  const codes = [...refused].sort((a, b) => b[1] - a[1]).map(([code, n]) => `  ${String(n).padStart(8)}  ${code}`);
  return [
    `${files} files: ${accepted} read, ${files - accepted - failures.length} refused, ${failures.length} failures`,
    `slowest ${(slowestSeconds * 1000).toFixed(0)} ms, memory grew by ${(grownBytes / 2 ** 20).toFixed(0)} MiB at most`,
    ...codes,
    ...failures.slice(0, 50).map((f) => `FAILURE file ${f.index} (${f.format}): ${f.what}`),
  ].join('\n');
}

/** Data sets from disk. The only file here that touches it: the others take bytes, and so run in a browser too. */

import { existsSync } from 'node:fs';
import { basename, join } from 'node:path';
import { UsageError } from '../../core/errors.ts';
import { isRecord } from '../../core/kinds.ts';
import {
  checkOptions,
  type OptionNames,
  requireArgument,
  requireKinds,
  requireWords,
  shown,
} from '../../core/options.ts';
import { packageRoot } from '../../core/package-root.ts';
import { readNpy } from '../../formats/npy.ts';
import { readBytes, readText } from '../../formats/read-file.ts';
import { readSafetensors } from '../../formats/safetensors.ts';
import { type CsvDatasetOptions, csvDatasetFrom } from './csv.ts';
import type { Dataset } from './dataset.ts';
import { digitsFrom } from './digits.ts';
import { fashionMnistFiles, fashionMnistFolder, fashionMnistFrom } from './fashion-mnist.ts';
import { type FileMode, type RawTensors, tensorSource, type WantedTensor } from './file.ts';
import { segmentationOf } from './segmentation.ts';
import type { BatchSource } from './source.ts';
import { type TextDataset, type TextOptions, textFrom } from './text.ts';

/** The built-in data sets of an experiment; paths are resolved already. */
export type DatasetConfig =
  | ({ readonly kind: 'digits' } & ImageTask)
  | ({ readonly kind: 'fashion-mnist' } & FashionMnistOptions & ImageTask)
  | ({ readonly kind: 'text'; readonly file?: string } & TextOptions)
  | ({ readonly kind: 'csv'; readonly file: string } & CsvDatasetOptions);

/** What the target of an image is: its class (default), or a class for each pixel (segmentation.ts). */
export interface ImageTask {
  readonly task?: 'classes' | 'segmentation';
}

const withTask = (images: Dataset, { task = 'classes' }: ImageTask): Dataset =>
  task === 'segmentation' ? segmentationOf(images) : images;

type ConfigOf<K extends DatasetConfig['kind']> = Extract<DatasetConfig, { readonly kind: K }>;
const settings: { readonly [K in DatasetConfig['kind']]: OptionNames<ConfigOf<K>> } = {
  digits: { kind: 'required', task: 'text' },
  'fashion-mnist': { kind: 'required', task: 'text', dir: 'text', split: 'text' },
  text: { kind: 'required', file: 'text', unit: 'text', context: 'count', stride: 'count', vocabulary: 'texts' },
  csv: {
    kind: 'required',
    file: 'required text',
    header: 'text',
    delimiter: 'text',
    targets: 'list',
    task: 'text',
    classNames: 'texts',
  },
};
const imageTasks = ['classes', 'segmentation'];
const words: Readonly<Record<DatasetConfig['kind'], Readonly<Record<string, readonly string[]>>>> = {
  digits: { task: imageTasks },
  'fashion-mnist': { task: imageTasks, split: Object.keys(fashionMnistFiles) },
  text: { unit: ['characters', 'bytes'] },
  csv: { header: ['auto', 'yes', 'no'], task: ['auto', 'classes', 'values'] },
};

/** Throws UsageError for settings that a data set of this kind has not, or of another kind. */
function checkSettings(config: DatasetConfig): void {
  const { kind } = config;
  if (!Object.hasOwn(settings, kind)) return; // told below
  checkOptions('openDataset', config, settings[kind] as OptionNames<DatasetConfig>);
  const given: Readonly<Record<string, unknown>> = { ...config };
  for (const [name, known] of Object.entries(words[kind])) {
    requireWords('openDataset', name, known, given[name] as string | undefined);
  }
}

export function openDataset(config: DatasetConfig): Dataset {
  requireArgument('openDataset', isRecord(config), 'settings', config, "openDataset({ kind: 'digits' })");
  checkSettings(config);
  switch (config.kind) {
    case 'digits':
      return withTask(openDigits(), config);
    case 'fashion-mnist':
      return withTask(openFashionMnist(config), config);
    case 'text':
      return openText(config);
    case 'csv':
      return openCsv(config.file, config);
    default:
      throw new UsageError(
        'unknown-dataset',
        `openDataset: there is no data set of kind ${shown((config as { kind?: unknown }).kind)}`,
        { fields: { config }, remedy: 'kind: digits, fashion-mnist, text or csv; files: openFile, openNpy' },
      );
  }
}

export function openDigits(): Dataset {
  const path = join(packageRoot(), 'data', 'digits', 'digits.csv.gz');
  return digitsFrom(readText(path), path);
}

export interface FashionMnistOptions {
  /** Folder of the IDX files, packed or not; default: where Debian's package puts them. */
  readonly dir?: string;
  /** Default `train`. */
  readonly split?: 'train' | 'test';
}

export function openFashionMnist({ dir = fashionMnistFolder, split = 'train' }: FashionMnistOptions = {}): Dataset {
  const read = (name: string) => {
    const plain = join(dir, name);
    const path = existsSync(plain) ? plain : `${plain}.gz`;
    return { bytes: readBytes(path, { remedy: 'apt-get install dataset-fashion-mnist' }), where: path };
  };
  const { images, labels } = fashionMnistFiles[split];
  return fashionMnistFrom(`fashion-mnist (${split})`, read(images), read(labels));
}

/** A UTF-8 text file, by default the book of Genesis in data/text. */
export function openText({ file, ...options }: { file?: string } & TextOptions = {}): TextDataset {
  const path = file ?? join(packageRoot(), 'data', 'text', 'genesis.txt');
  return textFrom(
    options.unit === 'bytes' ? readBytes(path) : readText(path, { notUtf8: "use unit 'bytes'" }),
    basename(path),
    options,
  );
}

export const openCsv = (path: string, options: CsvDatasetOptions = {}): Dataset =>
  csvDatasetFrom(readText(path), path, options);

/** Data whose tensors are named as the graph's: one safetensors file, or one .npy file a tensor. */
export type TensorFiles =
  | { readonly kind: 'file'; readonly file: string }
  | { readonly kind: 'npy'; readonly files: Readonly<Record<string, string>> };

export function readTensorFiles(config: TensorFiles): RawTensors {
  if (config.kind === 'file') {
    return { where: config.file, tensors: readSafetensors(readBytes(config.file), config.file) };
  }
  const files = Object.entries(config.files);
  return {
    where: files.map(([, path]) => basename(path)).join(', '),
    tensors: new Map(files.map(([name, path]) => [name, readNpy(readBytes(path), path)])),
    remedy: (missing) => missing.map((name) => `--data.files.${name} ${name}.npy`).join(' '),
  };
}

/** A safetensors file as the experiment key `{"file": …}` has it. */
export function openFile(path: string, wanted: readonly WantedTensor[], mode?: FileMode): BatchSource {
  requireWanted('openFile', wanted, mode);
  return tensorSource(readTensorFiles({ kind: 'file', file: path }), wanted, mode);
}

/** Throws UsageError for what names no tensors that a model takes. */
function requireWanted(what: string, wanted: readonly WantedTensor[], mode: FileMode | undefined): void {
  requireKinds(what, { wanted: ['list', wanted], mode: ['object', mode === undefined ? {} : mode] });
  for (const tensor of wanted) requireKinds(what, { name: ['text', tensor?.name] });
}

/** NumPy's arrays, one a file, as the experiment key `{"kind": "npy", "files": …}` has them. */
export function openNpy(
  files: Readonly<Record<string, string>>,
  wanted: readonly WantedTensor[],
  mode?: FileMode,
): BatchSource {
  requireKinds('openNpy', { files: ['object', files] });
  requireWanted('openNpy', wanted, mode);
  return tensorSource(readTensorFiles({ kind: 'npy', files }), wanted, mode);
}

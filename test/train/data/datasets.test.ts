import { existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { packageRoot } from '../../../src/core/package-root.ts';
import { csvDatasetFrom } from '../../../src/train/data/csv.ts';
import { type Dataset, datasetOf, subset } from '../../../src/train/data/dataset.ts';
import { fashionMnistFolder } from '../../../src/train/data/fashion-mnist.ts';
import { openDataset, openDigits, openFashionMnist, openText } from '../../../src/train/data/open.ts';
import { segmentationOf } from '../../../src/train/data/segmentation.ts';
import { holdOut } from '../../../src/train/data/split.ts';
import { type TextOptions, textFrom } from '../../../src/train/data/text.ts';
import { needs } from '../../support/system.ts';

const at = (...indices: number[]) => Int32Array.from(indices);
const failing = (code: string, fields: object = {}) =>
  expect.objectContaining({ code, fields: expect.objectContaining(fields) });
const values = (tensor: { data: ArrayLike<number> } | undefined) => Array.from(tensor!.data);
/** All that a data set is known again by. */
const told = ({ contents }: Dataset): string[] => {
  const parts: string[] = [];
  contents!((part) => parts.push(`${part}`));
  return parts;
};

it('openDataset refuses a kind that it has not got', () => {
  expect(() => openDataset({ kind: 'cifar' } as never)).toThrow(expect.objectContaining({ code: 'unknown-dataset' }));
});

describe('digits', () => {
  const digits = openDigits();
  it('has 1,797 samples of ten classes, pixels in 0..1', () => {
    expect(digits).toMatchObject({ name: 'digits', size: 1797, classes: 10 });
    const all = digits.batch(Int32Array.from({ length: 1797 }, (_, i) => i));
    expect(all.x!.type).toEqual({ dtype: 'f32', shape: [1797, 1, 8, 8] });
    expect(Math.max(...values(all.x))).toBe(1);
    expect(Math.min(...values(all.x))).toBe(0);
    const counts = new Array(10).fill(0);
    for (const label of values(all.y)) counts[label]++;
    expect(counts).toEqual([178, 182, 177, 183, 181, 182, 181, 179, 174, 180]); // as scikit-learn's documentation has it
  });

  it('gives the samples asked for, in that order', () => {
    const { x, y } = digits.batch(at(1, 0));
    expect(values(y)).toEqual([1, 0]);
    expect(values(x).slice(64, 72)).toEqual([0, 0, 5, 13, 9, 1, 0, 0].map((v) => v / 16));
    expect(x!.type.shape).toEqual([2, 1, 8, 8]);
    expect(y!.type).toEqual({ dtype: 'i32', shape: [2] });
  });

  it('refuses an index that is not there', () => {
    expect(() => digits.batch(at(1797))).toThrow(failing('data-index', { index: 1797, size: 1797 }));
    expect(() => digits.batch(at(-1))).toThrow(failing('data-index'));
  });
});

describe('segmentation', () => {
  it('names the class of the image at every pixel with ink', () => {
    const [digits, pixels] = [openDigits(), openDataset({ kind: 'digits', task: 'segmentation' })];
    expect(pixels).toMatchObject({ size: 1797, classes: 11, tensors: { y: { dtype: 'i32', sampleShape: [8, 8] } } });
    const [images, labelled] = [digits.batch(at(7, 3)), pixels.batch(at(7, 3))];
    expect(labelled.x).toEqual(images.x);
    expect(labelled.y!.type).toEqual({ dtype: 'i32', shape: [2, 8, 8] });
    values(labelled.y).forEach((label, i) => {
      expect(label).toBe(images.x!.data[i]! < 0.25 ? 0 : 1 + images.y!.data[i < 64 ? 0 : 1]!);
    });
    expect(new Set(values(labelled.y))).toEqual(new Set([0, 8, 4]));
    expect(holdOut(pixels, 0.1, 0).heldOut.batch(at(0)).y!.type.shape).toEqual([1, 8, 8]);
  });

  it('needs classified images of one channel', () => {
    const rows = datasetOf('rows', 1, { x: { dtype: 'f32', sampleShape: [2], values: Float32Array.of(0, 1) } });
    expect(() => segmentationOf(rows)).toThrow(failing('segmentation-data', { data: 'rows' }));
    const images = (channels: number, target: number[], more: object = { classes: 2 }) =>
      datasetOf(
        'images',
        1,
        {
          x: { dtype: 'f32', sampleShape: [channels, 1, 1], values: new Float32Array(channels) },
          y: { dtype: 'i32', sampleShape: target, values: at(1) },
        },
        more,
      );
    for (const other of [images(2, []), images(1, [1]), images(1, [], {})]) {
      expect(() => segmentationOf(other)).toThrow(failing('segmentation-data'));
    }
    expect(told(segmentationOf(images(1, [])))).not.toEqual(told(images(1, [])));
  });
});

describe('fashion-mnist', () => {
  function folder(images: number[], labels: number[]) {
    const dir = mkdtempSync(join(tmpdir(), 'partita-fashion-'));
    writeFileSync(join(dir, 't10k-images-idx3-ubyte'), Uint8Array.from(images));
    writeFileSync(join(dir, 't10k-labels-idx1-ubyte.gz'), gzipSync(Uint8Array.from(labels)));
    return dir;
  }
  const images = [0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2, 0, 255, 51, 102];

  it('reads IDX files, packed or not', () => {
    const data = openFashionMnist({ dir: folder(images, [0, 0, 8, 1, 0, 0, 0, 2, 7, 9]), split: 'test' });
    const { x, y } = data.batch(at(1, 0));
    expect(x!.type).toEqual({ dtype: 'f32', shape: [2, 1, 1, 2] });
    expect(values(x)).toEqual([51 / 255, 102 / 255, 0, 1].map(Math.fround));
    expect(values(y)).toEqual([9, 7]);
  });

  it('refuses labels that do not fit', () => {
    const open = (labels: number[]) => () => openFashionMnist({ dir: folder(images, labels), split: 'test' });
    expect(open([0, 0, 8, 1, 0, 0, 0, 1, 7])).toThrow(failing('fashion-mnist-shape'));
    expect(open([0, 0, 8, 1, 0, 0, 0, 2, 7, 10])).toThrow(failing('fashion-mnist-label', { index: 1 }));
  });

  it('refuses images of no pixels, and none at all', () => {
    const open = (height: number, count: number) => () =>
      openFashionMnist({
        dir: folder(
          [0, 0, 8, 3, 0, 0, 0, count, 0, 0, 0, height, 0, 0, 0, 2],
          [0, 0, 8, 1, 0, 0, 0, count, ...Array<number>(count).fill(7)],
        ),
        split: 'test',
      });
    expect(open(0, 1)).toThrow(failing('fashion-mnist-empty', { images: [1, 0, 2] }));
    expect(open(1, 0)).toThrow(failing('fashion-mnist-empty', { images: [0, 1, 2] }));
  });

  it('names the missing file and the package', () => {
    expect(() => openFashionMnist({ dir: '/no/such' })).toThrow(
      expect.objectContaining({
        code: 'file-not-found',
        message: expect.stringContaining('/no/such/train-images-idx3-ubyte.gz'),
        remedy: 'apt-get install dataset-fashion-mnist',
      }),
    );
  });

  it('reads the installed package', (context) => {
    needs(context, existsSync(fashionMnistFolder), "Debian's dataset-fashion-mnist");
    expect(openFashionMnist()).toMatchObject({ size: 60_000, classes: 10 });
    expect(openDataset({ kind: 'fashion-mnist', split: 'test' }).size).toBe(10_000);
  });
});

describe('text', () => {
  it('sorts its vocabulary by code point and gives the next token as target', () => {
    const text = textFrom('hello 😀é', 't', { context: 3, stride: 2 });
    expect(text.vocabulary).toEqual([' ', 'e', 'h', 'l', 'o', 'é', '😀']);
    expect(text).toMatchObject({ size: 3, classes: 7 });
    const { x, y } = text.batch(at(0, 2));
    expect(x!.type).toEqual({ dtype: 'i32', shape: [2, 3] });
    expect(text.decode(values(x))).toBe('helo 😀');
    expect(text.decode(values(y))).toBe('ell 😀é');
    expect(text.decode(text.encode('hello'))).toBe('hello');
    expect(() => text.encode('x')).toThrow(failing('text-vocabulary', { character: 'x' }));
    expect([...text.encode('😀é')]).toEqual([6, 5]);
    expect(text.decode([2, 7])).toBe('h\ufffd');
    // By UTF-16 units the second would come first.
    expect(textFrom('😀！', 't', { context: 1 }).vocabulary).toEqual(['！', '😀']);
    expect(textFrom('a'.repeat(65), 't')).toMatchObject({ size: 1, tensors: { x: { sampleShape: [64] } } });
  });

  it('takes bytes as they are', () => {
    const text = textFrom(Uint8Array.of(0xff, 0, 104, 105), 't', { unit: 'bytes', context: 2 });
    expect(text).toMatchObject({ size: 1, classes: 256, vocabulary: undefined });
    expect(values(text.batch(at(0)).y)).toEqual([0, 104]);
    expect([...text.encode('é')]).toEqual([0xc3, 0xa9]);
  });

  it('uses every token once as a target where stride is the context', () => {
    const text = textFrom('abcdefghi', 't', { context: 4 });
    expect(text.size).toBe(2);
    expect(text.decode(values(text.batch(at(0, 1)).y))).toBe('bcdefghi');
    expect(textFrom('abcdefgh', 't', { context: 4 }).size).toBe(1);
  });

  it('holds out its end, in windows that touch neither the rest nor each other', () => {
    const genesis = openText({ context: 32, stride: 1 });
    const { train, heldOut } = holdOut(genesis, 0.1, 0);
    const border = 196_818 - 19_682;
    expect(train.size).toBe(border - 32);
    expect(heldOut.size).toBe(Math.floor((19_682 - 1) / 32));
    expect(train.classes).toBe(60);
    const whole = readFileSync(join(packageRoot(), 'data/text/genesis.txt'), 'utf8');
    const last = train.batch(at(train.size - 1)).y;
    expect(genesis.decode(values(last))).toBe(whole.slice(border - 32, border));
    expect(genesis.decode(values(heldOut.batch(at(0, 1)).x))).toBe(whole.slice(border, border + 64));
  });

  it('takes over the vocabulary of another text, and says which character is not in it', () => {
    const { vocabulary } = textFrom('abcdef', 't', { context: 2 });
    const other = textFrom('fade', 'other', { context: 2, vocabulary });
    expect(other).toMatchObject({ classes: 6, vocabulary });
    expect(values(other.batch(at(0)).x)).toEqual([5, 0]);
    expect(() => textFrom('fax', 'other', { context: 2, vocabulary })).toThrow(
      failing('text-vocabulary', { dataset: 'other', character: 'x', at: 2 }),
    );
  });

  it('refuses to hold out less than a sample, or all but less, and says how much would do', () => {
    const text = textFrom('abcdefghij'.repeat(10), 't', { context: 9 });
    expect(() => holdOut(text, 0.05, 0)).toThrow(failing('split-size', { part: 'held-out', tokens: 5, context: 9 }));
    expect(() => holdOut(text, 0.95, 0)).toThrow(failing('split-size', { part: 'training', tokens: 5 }));
    const remedies = [0.05, 0.95].map((fraction) => {
      try {
        holdOut(text, fraction, 0);
      } catch (error) {
        return (error as { remedy?: string }).remedy;
      }
      return undefined;
    });
    expect(remedies).toEqual(['--eval.fraction 0.1', '--eval.fraction 0.9']);
    // 10 of 97 tokens are 0.10309 of them: what is told is enough, on either side.
    const odd = textFrom('a'.repeat(97), 't', { context: 9 });
    for (const [fraction, enough] of [
      [0.01, 0.1031],
      [0.99, 0.8969],
    ] as const) {
      const remedy = `--eval.fraction ${enough}`;
      expect(() => holdOut(odd, fraction, 0)).toThrow(expect.objectContaining({ remedy }));
    }
    expect(holdOut(text, 0.1, 0).heldOut.size).toBe(1);
    expect(holdOut(text, 0.9, 0).train.size).toBe(1);
    // The part has the window, and not the token behind it.
    expect(() => holdOut(text, 0.09, 0)).toThrow(failing('split-size', { part: 'held-out', tokens: 9 }));
    const short = textFrom('abcdefghij', 't', { context: 9 });
    expect(() => holdOut(short, 0.5, 0)).toThrow('the held-out part has 5 of 10 tokens');
  });

  it('refuses a text shorter than a sample and a context of 0', () => {
    expect(() => textFrom('abc', 't', { context: 3 })).toThrow(failing('text-too-short', { tokens: 3, context: 3 }));
    const remedy = expect.stringContaining('longer text');
    expect(() => textFrom('a', 't', { context: 3 })).toThrow(expect.objectContaining({ remedy }));
    expect(() => textFrom('abc', 't', { context: 0 })).toThrow(failing('text-option', { key: 'context' }));
    expect(() => textFrom('abc', 't', { context: 1, stride: 1.5 })).toThrow(failing('text-option', { key: 'stride' }));
  });
});

describe('csv', () => {
  const table = 'a,b,species\n1,2,0\n3,4,2\n';
  it('takes the last column as classes, the others as features', () => {
    const data = csvDatasetFrom(table, 't');
    expect(data).toMatchObject({ size: 2, classes: 3 });
    const { x, y } = data.batch(at(1));
    expect(x).toEqual({ type: { dtype: 'f32', shape: [1, 2] }, data: Float32Array.of(3, 4) });
    expect(y).toEqual({ type: { dtype: 'i32', shape: [1] }, data: Int32Array.of(2) });
  });

  it('takes values by name', () => {
    const { x, y } = csvDatasetFrom(table, 't', { targets: ['a', 'species'] }).batch(at(0, 1));
    expect(values(x)).toEqual([2, 4]);
    expect(y).toEqual({ type: { dtype: 'f32', shape: [2, 2] }, data: Float32Array.of(1, 0, 3, 2) });
    expect(csvDatasetFrom('1,0.5\n2,1', 't').tensors.y).toEqual({ dtype: 'f32', sampleShape: [1] });
    expect(csvDatasetFrom('1,2147483647', 't').tensors.y!.dtype).toBe('i32');
    expect(csvDatasetFrom('1,2147483648', 't').tensors.y!.dtype).toBe('f32');
    expect(csvDatasetFrom(table, 't', { task: 'values' }).tensors.y!.dtype).toBe('f32');
  });

  it('names some of many columns', () => {
    const wide = Array.from({ length: 300 }, (_, i) => `column${i}`).join(',');
    const open = () => csvDatasetFrom(`${wide}\n${'1,'.repeat(299)}1`, 't', { targets: ['z'] });
    expect(open).toThrow(/^t has no column "z"; its columns are column0, .*, column19, … \(300\)$/);
  });

  it('takes words as classes, sorted, or in the order of the data to train on', () => {
    const iris = 'length,width,species\n5.1,3.5,virginica\n4.9,3,setosa\n7,3.2, setosa\n6,2,versicolor\n';
    const data = csvDatasetFrom(iris, 't');
    expect(data).toMatchObject({ size: 4, classes: 3, classNames: ['setosa', 'versicolor', 'virginica'] });
    expect(data.batch(at(0, 1, 2, 3)).y).toEqual({
      type: { dtype: 'i32', shape: [4] },
      data: Int32Array.of(2, 0, 0, 1),
    });
    expect(subset(data, at(0), 'one')).toMatchObject({ classes: 3, classNames: data.classNames });

    const { classNames } = data;
    const other = csvDatasetFrom('length,width,species\n6,2,virginica\n', 'other', { classNames });
    expect(other).toMatchObject({ classes: 3, classNames });
    expect(other.batch(at(0)).y!.data).toEqual(Int32Array.of(2));
    expect(() => csvDatasetFrom('l,w,species\n6,2,virginia\n', 'other', { classNames })).toThrow(
      failing('csv-class', { value: 'virginia', nearest: 'virginica', classes: classNames }),
    );
    expect(csvDatasetFrom('cat,1\ndog,2', 't', { targets: [0], header: 'no' }).classes).toBe(2);
  });

  it('refuses words in features, beside numbers, for missing values and where values are asked for', () => {
    const notANumber = (line: number, got: string) => failing('csv-not-a-number', { line, got });
    expect(() => csvDatasetFrom('a,b\nred,cat\nblue,dog', 't')).toThrow(notANumber(2, 'red'));
    expect(() => csvDatasetFrom('a,b\n1,3\n2,cat', 't')).toThrow(notANumber(3, 'cat'));
    for (const got of ['3', 'NA', '', '?']) {
      expect(() => csvDatasetFrom(`a,b\n1,cat\n2,${got}`, 't')).toThrow(failing('csv-not-a-word', { line: 3, got }));
    }
    expect(() => csvDatasetFrom('a,b\n1,cat\n2,dog', 't', { task: 'values' })).toThrow(notANumber(2, 'cat'));
    expect(() => csvDatasetFrom('a,b,c\n1,1,cat\n2,1,dog', 't', { targets: [1, 2] })).toThrow(notANumber(2, 'cat'));
    expect(() => csvDatasetFrom('a,b\n1,cat\n2', 't')).toThrow(failing('csv-ragged', { line: 3 }));
  });

  it('refuses unknown columns, no features, fractional classes', () => {
    expect(() => csvDatasetFrom(table, 't', { targets: ['specie'] })).toThrow(
      failing('csv-columns', { nearest: 'species' }),
    );
    expect(() => csvDatasetFrom(table, 't', { targets: [3] })).toThrow(failing('csv-columns', { column: 3 }));
    expect(() => csvDatasetFrom('1\n2', 't')).toThrow(failing('csv-columns'));
    expect(() => csvDatasetFrom(table, 't', { targets: [] })).toThrow(failing('csv-columns'));
    expect(() => csvDatasetFrom('1,0.5', 't', { task: 'classes' })).toThrow(
      failing('csv-class', { row: 1, value: 0.5 }),
    );
    expect(() => csvDatasetFrom(table, 't', { targets: [0, 1], task: 'classes' })).toThrow(failing('csv-columns'));
    expect(() => csvDatasetFrom('a,b\n', 't')).toThrow(failing('csv-empty'));
    expect(() => csvDatasetFrom('a,b\n1,0\n1e39,1', 't')).toThrow(failing('csv-range', { row: 2, column: 1 }));
    expect(() => csvDatasetFrom('a,b\n1,0\n1,1e39', 't')).toThrow(failing('csv-range', { row: 2, column: 2 }));
    expect(() => csvDatasetFrom('a,y,y\n1,0,1', 't', { targets: ['y'] })).toThrow(
      failing('csv-columns', { column: 'y' }),
    );
    expect(csvDatasetFrom('a,y,y\n1,0,1', 't', { targets: [2] }).classes).toBe(2);
    expect(() => csvDatasetFrom(table, 't', { targets: ['species', -1] })).toThrow(failing('csv-columns'));
  });
});

describe('splitting', () => {
  const data = datasetOf('n', 10, {
    x: { dtype: 'i32', sampleShape: [], values: Int32Array.from({ length: 10 }, (_, i) => i) },
  });
  const all = (d: { size: number; batch: typeof data.batch }) =>
    values(d.batch(Int32Array.from({ length: d.size }, (_, i) => i)).x);

  it('cuts into two parts without loss, the same for the same seed', () => {
    const { train, heldOut } = holdOut(data, 0.3, 5);
    expect(heldOut.size).toBe(3);
    expect([...all(train), ...all(heldOut)].sort((a, b) => a - b)).toEqual(all(data));
    expect(all(holdOut(data, 0.3, 5).heldOut)).toEqual(all(heldOut));
    expect(all(holdOut(data, 0.3, 6).heldOut)).not.toEqual(all(heldOut));
    for (const part of [train, heldOut]) expect(all(part)).toEqual(all(part).sort((a, b) => a - b));
    expect(holdOut(data, 0.26, 5).heldOut.size).toBe(3);
    const classified = datasetOf('c', 2, { x: { dtype: 'i32', sampleShape: [], values: at(0, 1) } }, { classes: 7 });
    expect(holdOut(classified, 0.5, 0)).toMatchObject({ train: { classes: 7 }, heldOut: { classes: 7 } });
  });

  it('leaves at least one sample on either side', () => {
    expect(holdOut(data, 0.001, 0).heldOut.size).toBe(1);
    expect(holdOut(data, 0.999, 0).train.size).toBe(1);
    for (const none of [0, 1]) expect(() => holdOut(data, none, 0)).toThrow(failing('split-fraction'));
    expect(() => holdOut(data, Number.NaN, 0)).toThrow(failing('split-fraction'));
    expect(() => holdOut(subset(data, at(1), 'one'), 0.5, 0)).toThrow(failing('split-size'));
  });

  it('checks indices of a part against the part', () => {
    expect(() => subset(data, at(1, 2), 'two').batch(at(2))).toThrow(failing('data-index', { dataset: 'two' }));
    expect(() => subset(data, at(10), 'x')).toThrow(failing('data-index'));
  });
});

describe('contents', () => {
  it('are told with what makes other samples of the same values', () => {
    const column = { dtype: 'f32', sampleShape: [2], values: Uint8Array.of(1, 2, 3, 4), divisor: 4 } as const;
    const of = (changed: object, name = 'x') => told(datasetOf('n', 2, { [name]: { ...column, ...changed } }));
    const all = [of({}), of({ dtype: 'i32' }), of({ sampleShape: [1, 2] }), of({ divisor: 2 }), of({}, 'y')];
    expect(new Set(all.map((parts) => parts.join('|'))).size).toBe(all.length);
    expect(of({})[1]).toBe('1,2,3,4');
  });

  it('of a text tell how it is cut, and what its tokens mean', () => {
    const of = (options: TextOptions) => told(textFrom('abcabcab', 't', options)).join('|');
    const all = [
      of({ context: 2 }),
      of({ context: 3 }),
      of({ context: 2, stride: 1 }),
      of({ context: 2, vocabulary: ['a', 'b', 'c', 'd'] }),
      of({ context: 2, unit: 'bytes' }),
    ];
    expect(new Set(all).size).toBe(all.length);
  });
});

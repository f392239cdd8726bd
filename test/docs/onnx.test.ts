import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { decodeOnnx } from '../../src/formats/onnx/decode.ts';
import { hostOperatorNames } from '../../src/formats/onnx/host/index.ts';
import { operatorNames } from '../../src/formats/onnx/operators/index.ts';
import { sequenceOperatorNames } from '../../src/formats/onnx/sequences.ts';
import { blocksOf, documented, documentedFolder, node, textOf } from './run.ts';

const page = textOf('docs/onnx.md');

describe('docs/onnx.md', () => {
  it('lists the operators that are read', () => {
    const [inGraph, atImport, ofSequences] = blocksOf(page, 'text').map((block) =>
      block.replace(/[.\s]/g, '').split(','),
    );
    expect(inGraph).toEqual(operatorNames());
    const own = new Set(operatorNames());
    expect(atImport).toEqual([...hostOperatorNames().filter((name) => !own.has(name)), 'If', 'Loop'].sort());
    expect(ofSequences).toEqual(sequenceOperatorNames());
  });

  it('shows code that runs', async () => {
    const [code] = blocksOf(page, 'js');
    const outcome = await node(['--input-type=module', '--eval', code!]);
    expect(outcome).toEqual({ code: 0, stdout: 'symbolic true\ntrue\n', stderr: '' });
  });

  it('shows commands that run', async () => {
    const folder = documentedFolder();
    for (const line of blocksOf(page, 'sh')[0]!.trim().split('\n')) {
      expect({ line, code: (await documented(line, folder)).code }).toEqual({ line, code: 0 });
    }
    const file = readFileSync(join(folder, 'cnn.onnx'));
    expect(decodeOnnx(file, { where: 'cnn.onnx' }).graph.inputs[0]!.shape![0]).toBe('batch');
  });
});

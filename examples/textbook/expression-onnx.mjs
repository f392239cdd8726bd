// Writes expression.onnx beside this file: g = (x + y)·z as an ONNX model of three scalars.
import { writeFileSync } from 'node:fs';
import { create, toBinary } from '@bufbuild/protobuf';
import { ModelProtoSchema } from 'onnx-buf';

const float = 1; // TensorProto.DataType.FLOAT
const scalar = (name) => ({
  name,
  type: { value: { case: 'tensorType', value: { elemType: float, shape: { dim: [] } } } },
});
const node = (name, opType, input, output) => ({ name, opType, input, output: [output] });

const model = create(ModelProtoSchema, {
  irVersion: 8n,
  producerName: 'partita examples/textbook/expression-onnx.mjs',
  opsetImport: [{ domain: '', version: 17n }],
  graph: {
    name: 'expression',
    input: ['x', 'y', 'z'].map(scalar),
    node: [node('p', 'Add', ['x', 'y'], 'p'), node('g', 'Mul', ['p', 'z'], 'g')],
    output: [scalar('g')],
  },
});
writeFileSync(new URL('expression.onnx', import.meta.url), toBinary(ModelProtoSchema, model));

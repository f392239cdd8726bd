/**
 * What reading and writing `.onnx` files takes of other packages. The build makes one CommonJS file of it, which
 * messages.ts loads; nothing else imports this module but for its types.
 */
export { create, fromBinary, isFieldSet, ScalarType, toBinary } from '@bufbuild/protobuf';
export {
  AttributeProto_AttributeType as AttributeType,
  AttributeProtoSchema,
  FunctionProtoSchema,
  GraphProtoSchema,
  ModelProtoSchema,
  NodeProtoSchema,
  TensorProto_DataLocation,
  TensorProtoSchema,
  ValueInfoProtoSchema,
} from 'onnx-buf';

/** How every op is written to an ONNX file. An op without an exporter does not compile. */
import { activationExporters } from './activations.ts';
import { elementwiseExporters } from './elementwise.ts';
import type { ExportTable } from './exporter.ts';
import { indexingExporters } from './indexing.ts';
import { nnExporters } from './nn.ts';
import { normExporters } from './norm.ts';
import { recurrentExporters } from './recurrent.ts';
import { reduceExporters } from './reduce.ts';
import { refusedExporters } from './refused.ts';
import { shapeExporters } from './shape.ts';

export const exporters: ExportTable = {
  ...activationExporters,
  ...elementwiseExporters,
  ...indexingExporters,
  ...nnExporters,
  ...normExporters,
  ...recurrentExporters,
  ...reduceExporters,
  ...refusedExporters,
  ...shapeExporters,
};

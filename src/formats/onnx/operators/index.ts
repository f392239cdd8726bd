/** The rules of all ONNX operators there are. */
import { detach } from '../../../ops/detach.ts';
import { type OperatorRule, type OperatorTable, ownDomain } from '../operator.ts';
import { activations, ownActivations } from './activations.ts';
import { batchNormOperators } from './batch-norm.ts';
import { convOperators } from './conv.ts';
import { dropoutOperators } from './dropout.ts';
import { elementwise } from './elementwise.ts';
import { fourierOperators } from './fourier.ts';
import { gridSampleOperators } from './grid-sample.ts';
import { identity } from './identity.ts';
import { indexingOperators } from './indexing.ts';
import { lossOperators } from './loss.ts';
import { matmulOperators } from './matmul.ts';
import { normOperators } from './norm.ts';
import { optimizerOperators } from './optimizers.ts';
import { poolOperators } from './pool.ts';
import { quantizeOperators } from './quantize.ts';
import { recurrent } from './recurrent.ts';
import { reduceOperators } from './reduce.ts';
import { resizeOperators } from './resize.ts';
import { shapeOperators } from './shape.ts';
import { softmaxOperators } from './softmax.ts';
import { training } from './training.ts';

/** The operators of ONNX's own domain and of `ai.onnx.preview.training`: no name is in both. */
const tables: readonly OperatorTable[] = [
  activations,
  batchNormOperators,
  convOperators,
  dropoutOperators,
  elementwise,
  fourierOperators,
  gridSampleOperators,
  identity,
  indexingOperators,
  lossOperators,
  matmulOperators,
  normOperators,
  optimizerOperators,
  poolOperators,
  quantizeOperators,
  recurrent,
  reduceOperators,
  resizeOperators,
  shapeOperators,
  softmaxOperators,
  training,
];

const rules: ReadonlyMap<string, OperatorRule> = new Map(tables.flatMap((table) => Object.entries(table)));

/** Functions of the exporter's own domain, which stand for ops that ONNX has no operator for. */
const ownFunctions: OperatorTable = { ...ownActivations, Detach: ({ tensor }) => [detach(tensor(0))] };

const trainingDomain = 'ai.onnx.preview.training';
const trainingOperators: ReadonlySet<string> = new Set(['Adagrad', 'Adam', 'Gradient', 'Momentum']);

/**
 * undefined: not supported. If, Loop and functions are the importer's own, but for functions of our own exporter: those stand
 * for ops, which are made again.
 */
export function operatorRule(domain: string, opType: string): OperatorRule | undefined {
  if (domain === ownDomain) return Object.hasOwn(ownFunctions, opType) ? ownFunctions[opType] : undefined;
  if (domain !== (trainingOperators.has(opType) ? trainingDomain : '')) return undefined;
  return rules.get(opType);
}

/** Names of all operators with a rule. */
export const operatorNames = (): string[] => [...rules.keys()].sort();

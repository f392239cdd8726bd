/**
 * Tokens of the data against the tables that they choose rows of. To the op below an embedding a negative index counts from
 * the end, as in ONNX; in data it is a padding mark (−1, −100) that would be trained as some other token.
 */
import { UsageError } from '../../core/errors.ts';
import type { HostTensor } from '../../core/types.ts';
import type { Graph, Tensor } from '../../graph/graph.ts';

export interface TokenInput {
  /** The input that holds tokens. */
  readonly input: string;
  readonly rows: number;
}

/** The inputs of a built-in model that choose rows of an embedding. */
export const tokenInputs = (graph: Graph): TokenInput[] =>
  graph.nodes.flatMap(({ op, inputs: [table, indices] }) => {
    if (op?.name !== 'gather' || table?.node.source?.kind !== 'parameter') return [];
    const source = valuesOf(indices!).node.source;
    return source?.kind === 'input' ? [{ input: source.name, rows: table.shape[0]! }] : [];
  });

/** What holds the same values in another order: an lstm has its steps first. */
const valuesOf = (tensor: Tensor): Tensor =>
  tensor.node.op?.name === 'transpose' ? valuesOf(tensor.node.inputs[0]!) : tensor;

/** Throws UsageError where a token is no row of its table. */
export function checkTokens({ data }: HostTensor, { input, rows }: TokenInput, where: string): void {
  const wrong = data.findIndex((v: number) => v < 0 || v >= rows);
  if (wrong < 0) return;
  throw new UsageError(
    'token-range',
    `${where}: ${input} holds ${data[wrong]} (element ${wrong}), and the model has the tokens 0 to ${rows - 1}`,
    {
      fields: { data: where, input, index: wrong, value: data[wrong], rows },
      remedy: 'correct the tokens, or the vocabulary of the model; padding needs a token of its own',
    },
  );
}

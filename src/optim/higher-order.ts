/**
 * Models made of a model's own gradient: the objective of each is a scalar of that gradient, so that its whole-batch
 * gradient is the derivative that is wanted. They are cut, scheduled and run like any model (see `partition/fold.ts`).
 */
import { backwardWithin, type Contribution, gradients } from '../autodiff/backward.ts';
import { GraphError, nearest, UsageError } from '../core/errors.ts';
import { allocate } from '../core/types.ts';
import type { Graph, Tensor } from '../graph/graph.ts';
import { dependsOnBatch } from '../graph/values.ts';
import { add, mul } from '../ops/elementwise.ts';
import { sum, sumOfSquares } from '../ops/reduce.ts';
import { reshape } from '../ops/shape.ts';
import type { Model, ModelGraph, Total, TotalPart } from './model.ts';
import { type L2Penalty, penalisedParameters } from './training-graph.ts';

/**
 * Hessian-vector product H·v of the objective J (λ/2 Σ‖w‖² included) by reverse over reverse: the gradient of ⟨∂J/∂θ, v⟩
 * (Pearlmutter, "Fast exact multiplication by the Hessian", 1994). v is fed, `v/PARAMETER` in each parameter's shape.
 *
 * Results: `loss`, `grad/PARAMETER`, `hvp/PARAMETER`, and `vhv` = ⟨v, H·v⟩.
 */
export function hessianVectorModel(model: Model, l2?: L2Penalty): Model {
  return {
    ...model,
    build: (batch, mode) => {
      const base = model.build(batch, mode);
      const { graph } = base;
      const share = shareOf(base);
      const parameters = trainableOf(graph);
      const penalised = penalisedParameters(graph, l2);
      const lambda = l2?.lambda ?? 0;
      const order = share.node.order + 1;
      const uses = backwardWithin([{ tensor: share, cotangent: graph.scalar(1) }], parameters);
      const taken = parameters.find((p) => graph.has(directionName(p.name)));
      if (taken) {
        const name = directionName(taken.name);
        throw new UsageError(
          'direction-name',
          `the model has a tensor ${name}, the name of the direction of ${taken.name}`,
          {
            fields: { tensor: name, parameter: taken.name },
            remedy: `rename ${name} in the model`,
          },
        );
      }
      const directions = new Map(
        parameters.map((p) => [p, graph.input(directionName(p.name), { shape: p.shape, batchAxis: null })]),
      );
      const products = parameters.flatMap((p) =>
        uses.get(p)!.map((use) => placeOf(use, order)(() => sum(mul(use.cotangent, directions.get(p)!)))),
      );
      if (products.length === 0) throw noParameters(model);
      const withPenalty = (p: Tensor, value: Tensor, of: Tensor): Tensor =>
        penalised.has(p) ? add(value, mul(of, lambda)) : value;

      const totals = new Map<string, Total>([['loss', lossTotal(share, penalised, lambda)]]);
      for (const p of parameters) {
        totals.set(`grad/${p.name}`, {
          parts: uses.get(p)!.map((use) => ({ tensor: use.cotangent, place: placeOf(use, order) })),
          finish: (value) => withPenalty(p, value ?? zerosLike(p), p),
          at: p.node,
        });
      }
      return {
        graph,
        objective: [{ loss: products.reduce((a, b) => add(a, b)), weight: 1 }],
        objectiveName: 'gv',
        totals,
        fromGradients: (found) => {
          const terms = parameters.map((p) => {
            const v = directions.get(p)!;
            return graph.inStep(p.node, () => {
              const hvp = withPenalty(p, found.get(p.name)!, v);
              graph.output(`hvp/${p.name}`, hvp, { batchAxis: null });
              return sum(mul(v, hvp));
            });
          });
          const vhv = graph.inStep(parameters[0]!.node, () => terms.reduce((a, b) => add(a, b)));
          graph.output('vhv', vhv, { batchAxis: null });
        },
      };
    },
  };
}

/** Name of the input that holds the direction for a parameter. */
export const directionName = (parameter: string): string => `v/${parameter}`;

/**
 * Gradient penalty P = Σ (∂J/∂z)² over the entries of a tensor z, and ∂P/∂θ (Gulrajani et al., "Improved training of
 * Wasserstein GANs", 2017, without its norm). `at` names an input, a parameter, or any value of the model.
 *
 * Results: `loss`, `penalty`, `gradpen/PARAMETER`. Throws UsageError where the name is unknown or J does not depend on z.
 */
export function gradientPenaltyModel(model: Model, at: string, l2?: L2Penalty): Model {
  return {
    ...model,
    build: (batch, mode) => {
      const base = model.build(batch, mode);
      const { graph } = base;
      const share = shareOf(base);
      const penalised = penalisedParameters(graph, l2);
      const lambda = l2?.lambda ?? 0;
      const z = findTensor(graph, at);
      const [found] = gradients([{ tensor: share, cotangent: graph.scalar(1) }], [z]);
      const gradient = penalised.has(z) ? (found ? add(found, mul(z, lambda)) : mul(z, lambda)) : found;
      if (!gradient) {
        throw new UsageError('penalty-independent', `the objective does not depend on ${at}`, {
          fields: { tensor: at },
          remedy: 'name a tensor that the objective is computed from',
        });
      }
      return {
        graph,
        objective: [{ loss: sum(mul(gradient, gradient)), weight: 1 }],
        objectiveName: 'penalty',
        totals: new Map([['loss', lossTotal(share, penalised, lambda)]]),
        fromGradients: (totals) => {
          for (const [name, value] of totals) graph.output(`gradpen/${name}`, value, { batchAxis: null });
        },
      };
    },
  };
}

/**
 * The gradient of every sample's own loss: its share of the objective times the number of samples, so that their mean is
 * the batch's gradient (of objectives that average over samples; penalties of parameters are no sample's). To be run with
 * one sample a microbatch. Results: `loss`, `per_example_loss` [batch], `per_example_grad/PARAMETER` [batch, …shape].
 */
export function perExampleModel(model: Model, samples: number): Model {
  return {
    ...model,
    build: (batch, mode) => {
      const base = model.build(batch, mode);
      const { graph } = base;
      if (batch !== 1) {
        throw new GraphError('per-example-batch', `per-example gradients take one sample a microbatch, not ${batch}`, {
          remedy: `ask for ${samples} microbatches`,
        });
      }
      const share = shareOf(base);
      const parameters = trainableOf(graph);
      const found = backwardWithin([{ tensor: share, cotangent: graph.scalar(samples) }], parameters);
      graph.outputs.clear();
      graph.output('per_example_loss', reshape(mul(share, samples), [1]));
      parameters.forEach((p) => {
        const uses = found.get(p)!.map((use) => use.cotangent);
        const gradient = uses.length > 0 ? uses.reduce((a, b) => add(a, b)) : mul(p, 0);
        graph.output(`per_example_grad/${p.name}`, reshape(gradient, [1, ...p.shape]), { batchAxis: 0 });
      });
      return { graph, objective: [], totals: new Map([['loss', lossTotal(share, new Set(), 0)]]) };
    },
  };
}

/** A tensor of the graph by the name of an input, a parameter, a value of the model's file, or a node (`name:1`). */
function findTensor(graph: Graph, name: string): Tensor {
  const sources = [...graph.sources('input'), ...graph.parameters];
  const source = sources.find((t) => t.node.source!.name === name);
  const tensor = source ?? graph.labels.get(name) ?? nodeOutput(graph, name);
  if (tensor?.dtype !== 'f32') {
    const names = [
      ...sources.filter((t) => t.dtype === 'f32').map((t) => t.node.source!.name),
      ...[...graph.labels].flatMap(([label, t]) => (t.dtype === 'f32' ? [label] : [])),
      ...graph.nodes.filter((n) => n.outputs[0]?.dtype === 'f32').map((n) => n.name),
    ];
    const near = nearest(name, names);
    throw new UsageError(
      'unknown-tensor',
      tensor
        ? `${name} holds ${tensor.dtype}, which has no gradient`
        : `the model has no tensor "${name}"${near ? `; did you mean "${near}"?` : ''}`,
      {
        fields: { tensor: name, nearest: near ?? null },
        remedy: near ? `--at ${near}` : `--at ${names[0]}; partita graph lists the tensors`,
      },
    );
  }
  return tensor;
}

/** Whether a tensor named in a model is the same for every microbatch, so that its gradient is complete only behind all. */
export const isWholeBatch = (model: Model, batch: number, name: string): boolean =>
  !dependsOnBatch(findTensor(model.build(batch).graph, name));

function nodeOutput(graph: Graph, name: string): Tensor | undefined {
  const [, base, index] = /^(.*?)(?::(\d+))?$/s.exec(name)!;
  if (graph.has(name)) return graph.node(name).outputs[0];
  return graph.has(base!) ? graph.node(base!).outputs[Number(index ?? 0)] : undefined;
}

/** The chunk's share of the whole objective. */
function shareOf({ objective }: ModelGraph): Tensor {
  if (objective.length === 0) {
    throw new UsageError('no-objective', 'the model has no objective to differentiate', {
      remedy: 'give an objective',
    });
  }
  return objective.map(({ loss, weight }) => (weight === 1 ? loss : mul(loss, weight))).reduce((a, b) => add(a, b));
}

const trainableOf = (graph: Graph): Tensor[] => graph.parameters.filter((p) => !p.node.source!.frozen);

/** Where a use's share of a gradient is summed: at the gradient of the using node, which is made last. */
const placeOf = ({ use, cotangent }: Contribution, order: number): TotalPart['place'] => {
  const { node } = cotangent;
  return use ? (build) => node.graph.gradientOf(use, order, build) : (build) => node.graph.beside(node, build);
};

function lossTotal(share: Tensor, penalised: ReadonlySet<Tensor>, lambda: number): Total {
  const { graph, node } = share;
  return {
    parts: [{ tensor: share, place: (build) => graph.beside(node, build) }],
    at: node,
    finish: (loss) =>
      [...penalised].reduce((total, p) => {
        const penalty = graph.inStep(p.node, () => mul(sumOfSquares(p), lambda / 2));
        return graph.inStep(node, () => add(total, penalty));
      }, loss!),
  };
}

const zerosLike = (p: Tensor): Tensor => p.graph.constant({ type: p.type, data: allocate(p.type) }, 'zeros');

const noParameters = (model: Model): UsageError =>
  new UsageError('no-parameters', `the objective of ${model.name} depends on no parameter that is trained`, {
    remedy: 'freeze fewer parameters',
  });

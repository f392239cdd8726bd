import { describe, expect, it } from 'vitest';
import { Graph } from '../../src/graph/graph.ts';
import { makeOptimizer, type OptimizerConfig, optimizerKinds } from '../../src/optim/optimizer.ts';
import { parseExperiment } from '../../src/train/experiment/parse.ts';
import { defaults } from '../optim/pytorch-cases.ts';
import { blocksOf, textOf } from './run.ts';

// docs/optimizers.md, the experiment's schema, the API and PyTorch have one set of defaults.

const page = textOf('docs/optimizers.md');
/** Cells of the table under a head, row by row. */
const tableOf = (head: string): string[][] => {
  const [, rows] = page.split(`${head}\n`) as [string, string];
  const lines = rows.split('\n').slice(1);
  return lines.slice(0, lines.indexOf('')).map((line) => line.slice(2, -2).split(' | '));
};
const schemaDefaults = (kind: string): Record<string, unknown> => {
  const { noDecay: _, ...options } = parseExperiment({ model: { kind: 'mlp' }, optimizer: { kind } }, 'test').optimizer;
  return options;
};
const shown = (value: unknown): string => (Array.isArray(value) ? value.join(' ') : String(value));

describe('docs/optimizers.md', () => {
  it('has the defaults of every optimizer', () => {
    const rows = tableOf('| optimizer | update | defaults |');
    expect(rows.map(([kind]) => kind!.replaceAll('`', ''))).toEqual([...optimizerKinds]);
    for (const [kind, , told] of rows) {
      const { kind: _, ...options } = schemaDefaults(kind!.replaceAll('`', ''));
      expect(told).toBe(
        Object.entries(options)
          .map(([name, value]) => `${name} ${shown(value)}`)
          .join(', '),
      );
    }
  });

  it('has the state of every optimizer', () => {
    const rows = tableOf('| optimizer | state | bytes a parameter |');
    const configs = rows.map(([config]) => JSON.parse(config!.replaceAll('`', '')) as OptimizerConfig);
    expect(new Set(configs.map((c) => c.kind))).toEqual(new Set(optimizerKinds));
    rows.forEach(([, state, bytes], i) => {
      const { stateNames } = makeOptimizer(configs[i]!);
      expect(state).toBe(stateNames.map((name) => `\`${name}\``).join(', ') || '–');
      expect(bytes).toBe(String(4 * stateNames.length));
    });
  });

  it('begins with an experiment’s keys that are legal', () => {
    const keys = JSON.parse(blocksOf(page, 'json')[0]!) as object;
    expect(parseExperiment({ model: { kind: 'mlp' }, ...keys }, 'the page')).toMatchObject(keys);
  });
});

describe('defaults', () => {
  it.each(optimizerKinds)('of %s are PyTorch’s', (kind) => {
    const { kind: _, lr, ...options } = schemaDefaults(kind);
    const { lr: theirs = 0.1, ...others } = defaults[kind]!; // SGD of PyTorch 1.13 asks for a rate
    expect(options).toEqual(others);
    expect(lr).toBe(theirs);
  });

  it.each(optimizerKinds)('of %s are the same in the API', (kind) => {
    const written = (config: OptimizerConfig) => {
      const optimizer = makeOptimizer(config);
      const graph = new Graph();
      const w = graph.parameter('w', [3], { kind: 'zeros' });
      const scalars = optimizer.hyper(optimizer.defaultRate, 4);
      const hyper = graph.input('hyper', { shape: [scalars.length], batchAxis: null });
      optimizer.update(graph, w, graph.input('g', { shape: [3], batchAxis: null }), { hyper });
      const sources = graph.nodes.map((n) => n.source);
      return { scalars, attrs: graph.nodes.at(-1)!.attrs, sources };
    };
    expect(written({ kind } as OptimizerConfig)).toEqual(written(schemaDefaults(kind) as unknown as OptimizerConfig));
  });
});

import { expect, it } from 'vitest';
import type { Node } from '../../src/graph/graph.ts';
import { divideIntoTasks } from '../../src/program/stage-tasks.ts';
import { planOf, threeLayers } from '../support/models.ts';

const inThree = (microbatches: number, schedule: 'gpipe' | '1f1b') =>
  planOf(threeLayers, { devices: 3, microbatches, schedule, partition: { cuts: ['matmul_1', 'matmul_2'] } });

it.each(['gpipe', '1f1b'] as const)(
  '%s: a receive buffer is posted before the task ahead of the one that needs it',
  (schedule) => {
    let checked = 0;
    for (const { instructions } of inThree(4, schedule).programs.train!.devices) {
      const tasks = [...new Set(instructions.flatMap((i) => (i.kind === 'compute' ? [i.task] : [])))];
      instructions.forEach((receive, at) => {
        if (receive.kind !== 'receive') return;
        const user = instructions.slice(at).find((i) => i.kind === 'compute')!;
        const before = tasks[tasks.indexOf(user.task) - 1];
        if (before === undefined) return; // needed by the device's first task
        const post = instructions.findIndex((i) => i.kind === 'post' && i.buffer === receive.buffer);
        expect(post).toBeLessThan(instructions.findIndex((i) => i.kind === 'compute' && i.task === before));
        checked++;
      });
    }
    expect(checked).toBeGreaterThan(12);
  },
);

it('B makes what other stages wait for, W only what is summed up', () => {
  const graph = inThree(1, 'gpipe').graphs.train!;
  const layers = ['matmul_1', 'matmul_2'].map((name) => graph.nodes.find((n) => n.name === name)!.id);
  const follow = (node: Node): Node => (node.origin ? follow(node.origin) : node);
  const stageOf = (node: Node) => layers.filter((id) => follow(node).id >= id).length;
  const tasks = divideIntoTasks(graph, 3, stageOf);
  const inW = new Set(tasks.flatMap((t) => t.W));
  for (const node of graph.nodes) {
    if (node.region === 'step' || inW.has(node)) continue;
    for (const { node: needed } of node.inputs)
      expect(inW.has(needed), `${node.name} waits for ${needed.name}`).toBe(false);
  }
  expect(tasks.map((t) => t.B.length > 0)).toEqual([false, true, true]);
  for (const { W } of tasks) expect(W.some((n) => n.op?.name === 'accumulate')).toBe(true);
});

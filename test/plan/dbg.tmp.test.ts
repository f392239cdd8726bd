import { it } from 'vitest';
import { analyticCosts } from '../../src/cost/model.ts';
import { stageMap } from '../../src/partition/stage-of.ts';
import { scheduleNames, makeSchedule } from '../../src/schedule/index.ts';
import { estimateSeconds } from '../../src/plan/search.ts';
import { stageCosts, linkSeconds, taskSeconds } from '../../src/plan/stage-costs.ts';
import { planOf, threeLayers } from '../support/models.ts';
const slow = { flopsPerSecond: 1e6, bytesPerSecond: 1e7, secondsPerKernel: 1e-7, speed: 1 };
it('x', () => {
  for (const s of scheduleNames) {
    const costs = analyticCosts({ device: slow, link: { bytesPerSecond: 1e8, secondsLatency: 1e-6 } });
    const plan = planOf(threeLayers, { batch: 64, devices: 2, microbatches: 8, costs, schedule: s });
    const graph = plan.graphs.train!;
    const figures = stageCosts(graph, stageMap(graph, plan.partition), { stages: plan.partition.stages, costs });
    const shape = { stages: plan.partition.stages, microbatches: 8, placement: plan.placement, devices: 2 };
    const named = makeSchedule(s, shape);
    console.log(s, figures.durations.map(d=>[d.F,d.B,d.W].map(x=>(x*1e6).toFixed()).join()).join(' '), estimateSeconds(named, figures, plan.request, costs), plan.prediction.stepSeconds, JSON.stringify(plan.prediction, (k,v)=> Array.isArray(v)&&v.length>20? v.length : v).slice(0,3000));
  }
});

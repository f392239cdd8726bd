import { elementCount } from '../core/types.ts';
import { defaultFusion, type FusionMode } from '../fusion/modes.ts';
import { barrierLevels } from '../graph/barriers.ts';
import type { Graph } from '../graph/graph.ts';
import type { SimdVariant } from '../lower/kernel-call.ts';
import type { CategoryBytes } from '../memory/device-memory.ts';
import { type PeakHolder, peakHolders } from '../memory/footprint.ts';
import { wholeBatchNorms } from '../optim/batch-norm.ts';
import { columnOf } from '../partition/fold.ts';
import { forwardNodes, stageMap } from '../partition/stage-of.ts';
import { describe, type MemoryCategory } from '../program/instruction.ts';
import { type RecomputeMode, recomputedStages, type StageReport } from '../recompute/index.ts';
import { type Binding, bindingOf } from './binding.ts';
import { capacityOf, type Plan } from './plan.ts';
import { requirePlan } from './require-plan.ts';
import { stepBoundOf } from './step-bound.ts';

export interface StageSummary {
  readonly stage: number;
  readonly device: number;
  /** First and last forward node in graph order. */
  readonly from: string;
  readonly to: string;
  readonly nodes: number;
  /** Scalars of the parameters that live here; a shared one counts where it lives. */
  readonly parameters: number;
  /** Of one step of the main program: all microbatches, forward, backward and update. */
  readonly flops: number;
}

export interface DeviceSummary {
  readonly device: number;
  readonly backend: string;
  readonly stages: readonly number[];
  /** Whole pages; null: as much as needed. */
  readonly capacityBytes: number | null;
  readonly peakBytesPlanned: number;
  /** At the peak; sums to it. */
  readonly byCategory: CategoryBytes & { readonly padding: number };
  /** Program with the peak. */
  readonly peakProgram: string;
  /** The instruction at which it is reached. */
  readonly peakAt: string;
  readonly largest: readonly { readonly name: string; readonly bytes: number; readonly category: MemoryCategory }[];
  /** The tensors alive at the peak, the largest first, and what the smaller ones sum to. */
  readonly holders: readonly PeakHolder[];
  readonly otherHolders: { readonly tensors: number; readonly bytes: number };
  /** Sum of all buffers as if none were reused. */
  readonly naiveSumBytes: number;
  /** Most bytes alive at once: no layout is smaller. */
  readonly maxLiveBytes: number;
  readonly order: OrderSummary;
  /** What the layout adds to them: gaps, and rounding to 16 bytes. */
  readonly layoutWasteBytes: number;
  /** Peak over most alive: 1 where the layout wastes nothing. */
  readonly layoutRatio: number;
  readonly busySecondsPredicted: number;
  readonly bubbleFractionPredicted: number;
}

/** What another order of nodes within tasks does to a device's memory (`program/order.ts`). */
export interface OrderSummary {
  /** Most bytes alive at once with every task in the order of the graph; `maxLiveBytes` is what came of it. */
  readonly graphOrderBytes: number;
  /** The tasks that run in another order. */
  readonly tasks: readonly string[];
  /** No order within the task that holds the peak is lower. */
  readonly exact: boolean;
}

/** Places at which all microbatches wait for each other, one behind the other. */
export interface BarrierSummary {
  readonly forward: number;
  readonly backward: number;
  /** The batch normalisations by the whole batch; several may share a barrier. */
  readonly nodes: readonly string[];
}

/** What a stage of the schedule computes again. Bytes are of one microbatch. */
export interface RecomputeStageSummary extends StageReport {
  /** Of one step of the main program. */
  readonly flops: number;
}

export interface RecomputeSummary {
  /** `given`: stage by stage, by hand or from a stored plan. */
  readonly mode: RecomputeMode | 'given';
  /** Those that compute anything again. */
  readonly stages: readonly RecomputeStageSummary[];
}

/** A plan in numbers, as JSON. */
export interface PlanSummary {
  readonly model: string;
  /** The kernels of WebAssembly devices. */
  readonly simd: SimdVariant;
  readonly fusion: FusionMode;
  readonly programs: readonly {
    readonly name: string;
    readonly mode: string;
    readonly batch: number;
    readonly microbatches: number;
  }[];
  readonly schedule: string;
  /** null: no microbatch waits for another. */
  readonly barriers: BarrierSummary | null;
  readonly partition: string;
  readonly stages: readonly StageSummary[];
  readonly recompute: RecomputeSummary;
  readonly devices: readonly DeviceSummary[];
  /** What has the least room; null: nothing limits. */
  readonly binding: Binding | null;
  readonly surplus: readonly number[];
  readonly stepSecondsPredicted: number;
  /** No partition, placement or schedule with so many microbatches is predicted to be faster: `step-bound.ts`. */
  readonly stepSecondsLowerBound: number;
  readonly bubbleFractionPredicted: number;
}

export function summarizePlan(plan: Plan): PlanSummary {
  requirePlan('summarizePlan', plan);
  const { request, prediction } = plan;
  const [main] = Object.keys(plan.programs);
  return {
    model: request.model.name,
    simd: request.simd ?? 'strict',
    fusion: request.fusion ?? defaultFusion,
    programs: Object.entries(plan.programs).map(([name, program]) => ({
      name,
      mode: request.programs[name]!.mode,
      batch: request.programs[name]!.batch,
      microbatches: program.microbatches,
    })),
    schedule: plan.schedules[main!]!.name,
    barriers: summarizeBarriers(plan.graphs[main!]!),
    partition: plan.partition.method,
    stages: summarizeStages(plan, main!),
    recompute: summarizeRecompute(plan, main!),
    devices: plan.memory.map((memory, device) => {
      const [peakProgram, layout] = Object.entries(memory.layouts).sort((a, b) => b[1].height - a[1].height)[0]!;
      const program = plan.programs[peakProgram]!.devices[device]!;
      const instruction = program.instructions[layout.peakAt];
      const order = plan.programs[peakProgram]!.orders[device]!;
      const busy = prediction.busySeconds[device]!;
      return {
        device,
        backend: request.devices[device]!.backend,
        stages: plan.placement.flatMap((d, s) => (d === device ? [s] : [])),
        capacityBytes: capacityOf(request.devices[device]!),
        peakBytesPlanned: memory.peakBytes,
        byCategory: memory.byCategory,
        peakProgram,
        peakAt: instruction ? describe(instruction, program) : 'no instruction',
        largest: memory.largest,
        ...shownHolders(peakHolders(program, layout, memory.persistent)),
        naiveSumBytes: layout.naiveSum,
        maxLiveBytes: layout.maxLive,
        order: {
          graphOrderBytes: layout.maxLive + order.graphOrderBytes - order.bytes,
          tasks: order.tasks,
          exact: order.exact,
        },
        layoutWasteBytes: layout.height - layout.maxLive,
        layoutRatio: layout.maxLive > 0 ? memory.peakBytes / layout.maxLive : 1,
        busySecondsPredicted: busy,
        bubbleFractionPredicted: prediction.stepSeconds > 0 ? 1 - busy / prediction.stepSeconds : 0,
      };
    }),
    binding: bindingOf(plan) ?? null,
    surplus: plan.surplus,
    stepSecondsPredicted: prediction.stepSeconds,
    stepSecondsLowerBound: Math.min(
      prediction.stepSeconds,
      stepBoundOf(plan.graphs[main!]!, request, plan.programs[main!]!.chunks),
    ),
    bubbleFractionPredicted: prediction.bubbleFraction,
  };
}

/** Holders that a summary lists for each device. */
const HOLDERS = 12;

function shownHolders(all: readonly PeakHolder[]): Pick<DeviceSummary, 'holders' | 'otherHolders'> {
  const others = all.slice(HOLDERS);
  return {
    holders: all.slice(0, HOLDERS),
    otherHolders: { tensors: others.length, bytes: others.reduce((sum, h) => sum + h.bytes, 0) },
  };
}

function summarizeBarriers(graph: Graph): BarrierSummary | null {
  const { of, barriers } = barrierLevels(graph);
  if (barriers === 0) return null;
  const forward = Math.max(...graph.nodes.filter((n) => n.region === 'micro' && n.pass === 0).map((n) => of[n.id]!));
  return { forward, backward: barriers - forward, nodes: wholeBatchNorms(graph).map((n) => n.name) };
}

function summarizeRecompute(plan: Plan, main: string): RecomputeSummary {
  const { recompute = 'none' } = plan.request;
  const graph = plan.graphs[main]!;
  const stageOf = stageMap(graph, plan.partition);
  const flops = new Map<number, number>();
  for (const { instructions } of plan.programs[main]!.devices) {
    for (const i of instructions) {
      const node = i.kind === 'compute' ? graph.node(i.node) : undefined;
      if (i.kind !== 'compute' || !node?.recomputes) continue;
      flops.set(stageOf(node), (flops.get(stageOf(node)) ?? 0) + i.flops);
    }
  }
  return {
    mode: typeof recompute === 'string' ? recompute : 'given',
    stages: recomputedStages(graph, stageOf).map((s) => ({ ...s, flops: flops.get(s.stage) ?? 0 })),
  };
}

function summarizeStages(plan: Plan, main: string): StageSummary[] {
  const graph = plan.graphs[main]!;
  const stageOf = stageMap(graph, plan.partition);
  const flops = new Array<number>(plan.partition.stages).fill(0);
  for (const { instructions } of plan.programs[main]!.devices) {
    for (const i of instructions) {
      if (i.kind === 'compute') flops[columnOf(stageOf(graph.node(i.node)), plan.partition.stages)]! += i.flops;
    }
  }
  const nodes = forwardNodes(graph);
  return Array.from({ length: plan.partition.stages }, (_, stage) => {
    const own = nodes.filter((n) => stageOf(n) === stage);
    const parameters = graph.parameters.filter((p) => stageOf(p.node) === stage);
    return {
      stage,
      device: plan.placement[stage]!,
      from: own[0]?.name ?? '',
      to: own.at(-1)?.name ?? '',
      nodes: own.length,
      parameters: parameters.reduce((sum, p) => sum + elementCount(p.shape), 0),
      flops: flops[stage]!,
    };
  });
}

import { UsageError } from '../core/errors.ts';
import type { Invocation } from './invocation.ts';

const timed = ['batch', 'partition', 'schedule', 'scaling'];

/** Flags of single studies by the name commander gives them, with the studies that obey them; all others are everybody's. */
const flagsOfStudies: Readonly<Record<string, { readonly flag: string; readonly studies: readonly string[] }>> = {
  seeds: { flag: '--seeds', studies: ['batch'] },
  lrRules: { flag: '--lr-rules', studies: ['batch'] },
  targetLoss: { flag: '--target-loss', studies: ['batch'] },
  targetAccuracy: { flag: '--target-accuracy', studies: ['batch'] },
  capacity: { flag: '--capacity', studies: ['batch'] },
  noiseSamples: { flag: '--noise-samples', studies: ['batch'] },
  parallel: { flag: '--parallel', studies: ['batch'] },
  methods: { flag: '--methods', studies: ['partition'] },
  timeLimit: { flag: '--time-limit', studies: ['partition'] },
  repeat: { flag: '--repeat', studies: timed },
  timedSteps: { flag: '--timed-steps', studies: timed },
  quick: { flag: '--quick', studies: timed },
  measure: { flag: '--measure', studies: ['memory'] },
  batch: { flag: '--batch', studies: ['memory'] },
};

export async function run(invocation: Invocation): Promise<number> {
  const topic = invocation.topic ?? 'batch';
  for (const [name, { flag, studies }] of Object.entries(flagsOfStudies)) {
    if (invocation.own[name] === undefined || studies.includes(topic)) continue;
    throw new UsageError(
      'command-line',
      `${flag}: is of the study ${studies.join(', ')}; study ${topic} does not obey it`,
      {
        fields: { flag, study: topic, studies },
        remedy: `leave ${flag} out`,
      },
    );
  }
  if (topic === 'batch') return (await import('./study-batch.ts')).runBatch(invocation);
  if (topic === 'memory') return (await import('./study-memory.ts')).runMemory(invocation);
  return (await import('./study-pipeline.ts')).runPipelineStudy(topic, invocation);
}

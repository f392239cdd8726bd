import { UsageError } from '../core/errors.ts';
import { parseBytes } from '../core/memory-size.ts';
import { type BatchStudyDesign, designBatchStudy } from '../study/batch/design.ts';
import {
  type BatchStudyOptions,
  defaultOptions,
  rateRules,
  type StudyPart,
  studyParts,
} from '../study/batch/options.ts';
import { runBatchStudy } from '../study/batch/study.ts';
import { type BatchTables, tableColumns } from '../study/batch/tables.ts';
import { loadExperiment } from './experiment.ts';
import { type Invocation, listOf, numberOf, textOf, wholeNumberOf } from './invocation.ts';
import { finishStudy, openFolder, recorderOf } from './study-folder.ts';

export async function runBatch(invocation: Invocation): Promise<number> {
  const began = performance.now();
  const { experiment, where } = loadExperiment(invocation);
  const options = optionsOf(invocation);
  const design = designBatchStudy(experiment, options, where);
  using folder = await openFolder(invocation, design.layouts[0]!.prepared.model.name, experiment);
  const recorder = recorderOf<BatchTables, StudyPart>(invocation, folder.dir, tableColumns);
  if (!invocation.quiet) process.stderr.write(`${planOf(design, options)}\nfolder ${folder.dir}\n`);
  const study = await runBatchStudy(design, options, recorder);
  const page = async (finished: typeof study) =>
    (await import('../report/batch-study/page.ts')).batchStudyPage(finished);
  await finishStudy(invocation, study, page, { folder: folder.dir, reused: recorder.journal.reused, began });
  return 0;
}

function optionsOf(invocation: Invocation): BatchStudyOptions {
  const quick = invocation.own.quick === true;
  const defaults = defaultOptions(quick);
  const whole = (name: string, flag: string) => wholeNumberOf(invocation, name, flag, 1);
  const capacity = textOf(invocation, 'capacity');
  return {
    parts: listOf(invocation, 'parts', 'parts', studyParts) ?? defaults.parts,
    rules: listOf(invocation, 'lrRules', 'lr-rules', rateRules) ?? defaults.rules,
    seeds: whole('seeds', 'seeds') ?? defaults.seeds,
    repeats: whole('repeat', 'repeat') ?? defaults.repeats,
    timedSteps: whole('timedSteps', 'timed-steps') ?? defaults.timedSteps,
    capacities: capacity?.split(',').map((size) => parseBytes(size.trim(), '--capacity')),
    target: targetOf(invocation),
    noiseSamples: wholeNumberOf(invocation, 'noiseSamples', 'noise-samples', 2) ?? defaults.noiseSamples,
    parallel: whole('parallel', 'parallel') ?? defaults.parallel,
    quick,
  };
}

function targetOf(invocation: Invocation): BatchStudyOptions['target'] {
  const loss = numberOf(invocation, 'targetLoss', 'target-loss', { example: 0.1 });
  const accuracy = numberOf(invocation, 'targetAccuracy', 'target-accuracy', { example: 0.9, max: 1 });
  if (loss !== undefined && accuracy !== undefined) {
    throw new UsageError('command-line', '--target-loss and --target-accuracy: a study has one target', {
      remedy: 'leave one of them out',
    });
  }
  if (accuracy !== undefined) return { metric: 'accuracy', value: accuracy };
  return loss === undefined ? undefined : { metric: 'loss', value: loss };
}

/** What is about to run, in a line or two. */
function planOf(design: BatchStudyDesign, { parts, rules, seeds, repeats }: BatchStudyOptions): string {
  const { batchSizes, microbatches, layouts, variants, dataName, dataSize, base } = design;
  const length = base.epochs === undefined ? `${base.steps ?? 1} steps` : `${base.epochs} epochs`;
  const lines = [
    `batch study: ${layouts.length} layouts (batch ${batchSizes.join(', ')}; M ${microbatches.join(', ')}) on ${dataName}, ${dataSize} samples`,
  ];
  if (parts.includes('timing'))
    lines.push(`each timed in ${repeats} session${repeats === 1 ? '' : 's'}, one after the other`);
  if (parts.includes('learning')) {
    lines.push(
      `trainings of ${length}: ${batchSizes.length * variants.length} batch sizes by ${rules.join(', ')}, ${seeds} seed${seeds === 1 ? '' : 's'}`,
    );
  }
  return lines.join('\n');
}

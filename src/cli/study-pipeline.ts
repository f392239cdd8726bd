/** The studies of partitions, schedules and scaling, from the command line. */
import { UsageError } from '../core/errors.ts';
import { cutMethods } from '../study/partition/methods.ts';
import {
  designPartitionStudy,
  type PartitionPart,
  type PartitionStudyOptions,
  partitionParts,
  runPartitionStudy,
} from '../study/partition/study.ts';
import { type PartitionTables, partitionColumns } from '../study/partition/tables.ts';
import { defaultTiming, type TimingChoice } from '../study/pipeline.ts';
import {
  designScalingStudy,
  runScalingStudy,
  type ScalingPart,
  type ScalingStudyOptions,
  scalingParts,
} from '../study/scaling/study.ts';
import { type ScalingTables, scalingColumns } from '../study/scaling/tables.ts';
import {
  designScheduleStudy,
  runScheduleStudy,
  type SchedulePart,
  type ScheduleStudyOptions,
  scheduleParts,
} from '../study/schedule/study.ts';
import { type ScheduleTables, scheduleColumns } from '../study/schedule/tables.ts';
import { loadExperiment } from './experiment.ts';
import { type Invocation, listOf, numberOf, wholeNumberOf } from './invocation.ts';
import { finishStudy, openFolder, recorderOf } from './study-folder.ts';

export async function runPipelineStudy(topic: string, invocation: Invocation): Promise<number> {
  const began = performance.now();
  const { experiment, where } = loadExperiment(invocation);
  const begin = async (model: string, what: string) => {
    const folder = await openFolder(invocation, model, experiment);
    if (!invocation.quiet) process.stderr.write(`${what}\nfolder ${folder.dir}\n`);
    return folder;
  };
  if (topic === 'partition') {
    const options: PartitionStudyOptions = {
      ...timingOf(invocation),
      parts: partsOf(invocation, partitionParts),
      methods: listOf(invocation, 'methods', 'methods', cutMethods),
      timeLimitSeconds:
        numberOf(invocation, 'timeLimit', 'time-limit', { example: 10 }) ?? (isQuick(invocation) ? 2 : 10),
      quick: isQuick(invocation),
    };
    const design = designPartitionStudy(experiment, options, where);
    const [{ prepared }] = design.combinations as [(typeof design.combinations)[number]];
    const counts = [...new Set(design.combinations.map((c) => c.request.devices.length))];
    using folder = await begin(
      prepared.model.name,
      `partition study: ${design.methods.length} ways to cut on ${counts.join(', ')} devices: ${design.methods.join(', ')}`,
    );
    const recorder = recorderOf<PartitionTables, PartitionPart>(invocation, folder.dir, partitionColumns);
    const study = await runPartitionStudy(design, options, recorder);
    const page = async (s: typeof study) => (await import('../report/partition-study.ts')).partitionStudyPage(s);
    await finishStudy(invocation, study, page, { folder: folder.dir, reused: recorder.journal.reused, began });
  } else if (topic === 'schedule') {
    const options: ScheduleStudyOptions = {
      ...timingOf(invocation),
      parts: partsOf(invocation, scheduleParts),
      quick: isQuick(invocation),
    };
    const design = await designScheduleStudy(experiment, options, where, invocation.signal);
    const names = [...new Set(design.runs.map((r) => r.key.schedule))];
    using folder = await begin(
      design.runs[0]!.prepared.model.name,
      `schedule study: ${design.runs.length} layouts of ${names.join(', ')} on ${design.runs[0]!.request.devices.length} devices`,
    );
    const recorder = recorderOf<ScheduleTables, SchedulePart>(invocation, folder.dir, scheduleColumns);
    const study = await runScheduleStudy(design, options, recorder);
    const page = async (s: typeof study) => (await import('../report/schedule-study.ts')).scheduleStudyPage(s);
    await finishStudy(invocation, study, page, { folder: folder.dir, reused: recorder.journal.reused, began });
  } else if (topic === 'scaling') {
    const options: ScalingStudyOptions = {
      ...timingOf(invocation),
      parts: partsOf(invocation, scalingParts),
      quick: isQuick(invocation),
    };
    const design = designScalingStudy(experiment, options, where);
    using folder = await begin(
      design.variants[0]!.prepared.model.name,
      `scaling study: ${design.schedules.join(', ')} with M = ${design.microbatches.join(', ')} on ${design.deviceCounts.join(', ')} devices`,
    );
    const recorder = recorderOf<ScalingTables, ScalingPart>(invocation, folder.dir, scalingColumns);
    const study = await runScalingStudy(design, options, recorder);
    const page = async (s: typeof study) => (await import('../report/scaling-study.ts')).scalingStudyPage(s);
    await finishStudy(invocation, study, page, { folder: folder.dir, reused: recorder.journal.reused, began });
  } else {
    throw new UsageError('command-line', `there is no study ${topic}`, { remedy: 'partita study --help' });
  }
  return 0;
}

const isQuick = (invocation: Invocation): boolean => invocation.own.quick === true;

function timingOf(invocation: Invocation): TimingChoice {
  const defaults = defaultTiming(isQuick(invocation));
  return {
    repeats: wholeNumberOf(invocation, 'repeat', 'repeat', 1) ?? defaults.repeats,
    timedSteps: wholeNumberOf(invocation, 'timedSteps', 'timed-steps', 1) ?? defaults.timedSteps,
  };
}

const partsOf = <const V extends readonly string[]>(invocation: Invocation, all: V): readonly V[number][] =>
  listOf(invocation, 'parts', 'parts', all) ?? all;

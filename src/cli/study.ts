import { join } from 'node:path';
import { PartitaError, UsageError } from '../core/errors.ts';
import { formatSeconds, wrap } from '../core/format.ts';
import { parseBytes } from '../core/memory-size.ts';
import { writeFileAtomic } from '../formats/atomic.ts';
import { makeFolder } from '../formats/make-folder.ts';
import { type BatchStudyDesign, designBatchStudy } from '../study/batch/design.ts';
import { type BatchStudyOptions, defaultOptions, rateRules, studyParts } from '../study/batch/options.ts';
import type { Recorder } from '../study/batch/recorder.ts';
import { type BatchStudy, runBatchStudy } from '../study/batch/study.ts';
import { type TableName, tableColumns } from '../study/batch/tables.ts';
import { fileJournal } from '../study/journal.ts';
import { type Row, tableFile } from '../study/table-file.ts';
import { loadExperiment } from './experiment.ts';
import { type Invocation, listOf, numberOf, textOf, wholeNumberOf } from './invocation.ts';
import { freeFolder } from './run-folder.ts';

export async function run(invocation: Invocation): Promise<number> {
  const began = performance.now();
  const { experiment, where } = loadExperiment(invocation);
  const options = optionsOf(invocation);
  const design = designBatchStudy(experiment, options, where);
  const folder = folderOf(invocation, design.layouts[0]!.prepared.model.name);
  await writeFileAtomic(join(folder, 'experiment.json'), `${JSON.stringify(experiment, null, 2)}\n`);
  const recorder = recorderOf(invocation, folder);
  if (!invocation.quiet) process.stderr.write(`${planOf(design, options)}\nfolder ${folder}\n`);

  const study = await runBatchStudy(design, options, recorder);
  // Only a study draws: the drawing library is loaded here and nowhere else.
  const { batchStudyPage } = await import('../report/batch-study/page.ts');
  const result = { ...study, folder, files: filesOf(study) };
  await writeFileAtomic(join(folder, 'study.json'), `${JSON.stringify(result, null, 1)}\n`);
  await writeFileAtomic(join(folder, 'index.html'), await batchStudyPage(study));

  if (invocation.json) process.stdout.write(`${JSON.stringify(result)}\n`);
  else if (!invocation.quiet) {
    const claims = study.summary.map(({ question, text }) => `${question}\n${wrap(text, '  ', 100)}`);
    const reused = recorder.journal.reused;
    const again = reused > 0 ? `, ${reused} results taken from before` : '';
    process.stdout.write(
      `${claims.join('\n\n')}\n\n${formatSeconds((performance.now() - began) / 1000)}${again}\nWritten to ${join(folder, 'index.html')}\n`,
    );
  }
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
  const loss = numberOf(invocation, 'targetLoss', 'target-loss', 0, Number.POSITIVE_INFINITY);
  const accuracy = numberOf(invocation, 'targetAccuracy', 'target-accuracy', 0, 1);
  if (loss !== undefined && accuracy !== undefined) {
    throw new UsageError('command-line', '--target-loss and --target-accuracy: a study has one target', {
      remedy: 'leave one of them out',
    });
  }
  if (accuracy !== undefined) return { metric: 'accuracy', value: accuracy };
  return loss === undefined ? undefined : { metric: 'loss', value: loss };
}

function folderOf(invocation: Invocation, model: string): string {
  const [dir, out] = [textOf(invocation, 'studyDir'), textOf(invocation, 'out')];
  if (dir !== undefined && out !== undefined && dir !== out) {
    throw new UsageError('command-line', '--study-dir and --out name two folders', { remedy: `--study-dir ${dir}` });
  }
  const given = dir ?? out;
  try {
    return given === undefined ? freeFolder('studies', model) : makeFolder(given);
  } catch (cause) {
    throw new PartitaError('study-folder', `cannot make the study's folder: ${(cause as Error).message}`, {
      fields: { path: given ?? 'studies' },
      remedy: '--study-dir FOLDER',
      cause,
    });
  }
}

/** Keeps finished tasks and rows as they come, and tells of the progress. */
function recorderOf(invocation: Invocation, folder: string): Recorder {
  const files = new Map<TableName, (row: Row) => void>();
  let told = 0;
  return {
    journal: fileJournal(join(folder, 'finished.jsonl')),
    signal: invocation.signal,
    add: (table, row) => {
      let append = files.get(table);
      if (!append) files.set(table, (append = tableFile(join(folder, fileOf(table)), tableColumns[table])));
      append(row as unknown as Row);
    },
    progress: (part, done, total, what) => {
      const now = performance.now();
      if (invocation.quiet || (done < total && now - told < 1000 * secondsBetweenLines)) return;
      told = now;
      process.stderr.write(`${part} ${done}/${total}  ${what}\n`);
    },
  };
}

const secondsBetweenLines = 2;

/** `cut-training.csv` */
const fileOf = (table: TableName): string => `${table.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`)}.csv`;

const filesOf = ({ tables }: BatchStudy): string[] => [
  'index.html',
  'study.json',
  ...(Object.keys(tables) as TableName[]).filter((name) => tables[name].length > 0).map(fileOf),
];

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

/** The study of memory, from the command line. */
import { UsageError } from '../core/errors.ts';
import { designMemoryStudy, type MemoryStudyOptions, runMemoryStudy } from '../study/memory/study.ts';
import { type MemoryTables, memoryColumns, type Purpose, purposes } from '../study/memory/tables.ts';
import { loadExperiment } from './experiment.ts';
import { type Invocation, listOf, textOf } from './invocation.ts';
import { finishStudy, openFolder, recorderOf } from './study-folder.ts';

export async function runMemory(invocation: Invocation): Promise<number> {
  const began = performance.now();
  const { experiment, where } = loadExperiment(invocation);
  const options: MemoryStudyOptions = {
    purposes: listOf(invocation, 'parts', 'parts', purposes) ?? purposes,
    measure: invocation.own.measure === true,
    batch: batchSizesOf(invocation),
  };
  const design = designMemoryStudy(experiment, options, where);
  const { model } = design.layouts[0]!.prepared;
  using folder = await openFolder(invocation, model.name, experiment);
  if (!invocation.quiet) {
    const count = design.layouts.length;
    const what = `${count} layout${count === 1 ? '' : 's'} of ${model.name}, ${options.purposes.join(' and ')}`;
    process.stderr.write(`memory study: ${what}${options.measure ? ', measured' : ''}\nfolder ${folder.dir}\n`);
  }
  const recorder = recorderOf<MemoryTables, Purpose>(invocation, folder.dir, memoryColumns(design.swept));
  const study = await runMemoryStudy(design, options, recorder);
  const page = async (s: typeof study) => (await import('../report/memory-study.ts')).memoryStudyPage(s);
  await finishStudy(invocation, study, page, { folder: folder.dir, reused: recorder.journal.reused, began });
  return 0;
}

/** `--batch 8`, or several with commas between them: a layout each. */
function batchSizesOf(invocation: Invocation): number[] | undefined {
  const text = textOf(invocation, 'batch');
  if (text === undefined) return undefined;
  const sizes = text.split(',').map(Number);
  if (sizes.every((n) => Number.isSafeInteger(n) && n >= 1) && new Set(sizes).size === sizes.length) return sizes;
  throw new UsageError(
    'command-line',
    `--batch: expected integers ≥ 1, each once, with commas between them, got ${JSON.stringify(text)}`,
    {
      fields: { flag: 'batch', got: text },
      remedy: '--batch 8,16,32',
    },
  );
}

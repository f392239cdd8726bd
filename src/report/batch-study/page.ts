import type { BatchStudy } from '../../study/batch/study.ts';
export async function batchStudyPage(study: BatchStudy): Promise<string> {
  return study.model;
}

import type { StudyRecorder } from '../recorder.ts';
import type { StudyPart } from './options.ts';
import type { BatchTables } from './tables.ts';

export type Recorder = StudyRecorder<BatchTables, StudyPart>;

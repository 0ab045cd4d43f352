import type { DicomPool } from '../../dicom/pool.ts';
import type { ExecutionProvider } from '../../inference/execution-provider.ts';
import type { ScorerOptions } from '../../inference/scorer.ts';
import type { StepRecord } from '../../training/run-log.ts';
import type { Archive } from '../archive/archive.ts';
import type { StudyRecord } from './study-record.ts';

/** Where a retraining takes place, and who is told how it goes. */
export interface RetrainContext {
  /** Of the bundle registry. */
  readonly root: string;
  readonly archives: ReadonlyMap<string, Archive>;
  readonly pool: DicomPool;
  readonly scorer: ScorerOptions;
  /** Runs of a profile of which the folder is kept. */
  readonly keepRuns: number;
  /** Where is trained. */
  readonly provider: ExecutionProvider;
  /** Told when the steps of training are known. */
  readonly onPlan: (plan: { run: string; totalSteps: number }) => void;
  readonly onStudy: (record: StudyRecord, done: number, of: number) => void;
  readonly onStep: (record: StepRecord, totalSteps: number) => void;
  readonly onStage: (stage: 'data set' | 'training' | 'evaluation') => void;
}

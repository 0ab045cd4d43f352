import type { GuardContext, Identify } from '../access/guard.ts';
import type { DicomPool } from '../../dicom/pool.ts';
import type { Precision } from '../../inference/precision.ts';
import type { Archive } from '../archive/archive.ts';
import type { ShownSeries } from '../archive/shown-series.ts';
import type { Database } from '../database/database.ts';
import type { EventFeed } from '../events/event-feed.ts';
import type { JobQueue } from '../jobs/queue.ts';
import type { Logger } from '../log.ts';
import type { RetrainingSchedule } from '../retraining/schedule.ts';
import type { RulesWatch } from '../rules/rules-watch.ts';
import type { Settings } from '../settings.ts';

/** What the API needs of the node. */
export interface ApiContext extends GuardContext {
  settings: Pick<Settings, 'data' | 'access' | 'bundle' | 'outputs' | 'arrival' | 'drift' | 'viewer'>;
  /** In which the node scores. */
  precision: Precision;
  /** Finds out who someone is that signs in. */
  identify: Identify;
  database: Database;
  /** Those that studies come from. */
  archives: ReadonlyMap<string, Archive>;
  queue: Pick<JobQueue, 'request' | 'retry' | 'cancel' | 'prioritise'>;
  rules: Pick<RulesWatch, 'state'>;
  schedule: Pick<RetrainingSchedule, 'states' | 'runNow' | 'setPaused'>;
  events: EventFeed;
  pool: DicomPool;
  /** Files of what readers look at. */
  shown: Pick<ShownSeries, 'read'>;
  /** Stores a sample study; returns its StudyInstanceUID. */
  loadSample: () => Promise<string>;
  log: Logger;
}

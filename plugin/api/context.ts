import type { Database } from '../database/database.ts';
import type { EventFeed } from '../events/event-feed.ts';
import type { Logger } from '../log.ts';

/** What the API needs of the node. */
export interface ApiContext {
  database: Database;
  events: EventFeed;
  log: Logger;
}

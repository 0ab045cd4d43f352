import type { Queryable } from '../database/database.ts';

/** Something that happened in this node or in a worker on the same database. */
export interface NodeEvent {
  /** Its place in the order of all events. */
  position: string;
  type: string;
  at: Date;
  data: Record<string, unknown>;
}

/** Events that are read at once. */
export const eventPage = 500;

/** Enters an event that no trigger of the database enters. */
export async function enterEvent(on: Queryable, type: string, data: Record<string, unknown>): Promise<void> {
  await on.query('insert into event (type, data) values ($1, $2)', [type, JSON.stringify(data)]);
}

/** The position behind every event that can be read now. */
export async function presentPosition(on: Queryable): Promise<string> {
  const [row] = await on.query<{ position: string }>(
    `select pg_snapshot_xmin(pg_current_snapshot())::text || '-0' as position`,
  );
  return row.position;
}

/**
 * The events behind `position`, in order, `eventPage` at most. Events of a transaction that began before one which
 * still runs wait for that one to end: so none comes to stand before what was read already.
 */
export async function eventsAfter(on: Queryable, position: string): Promise<NodeEvent[]> {
  return on.query<NodeEvent>(
    `select transaction::text || '-' || id as position, type, at, data from event
     where (transaction, id) > ($1::text::xid8, $2::text::bigint)
       and transaction < pg_snapshot_xmin(pg_current_snapshot())
     order by transaction, id limit ${eventPage}`,
    position.split('-'),
  );
}

/** Whether the event at `position` is kept: then nothing behind it has been forgotten either. */
export async function isKept(on: Queryable, position: string): Promise<boolean> {
  const rows = await on.query(
    'select 1 from event where transaction = $1::text::xid8 and id = $2::text::bigint',
    position.split('-'),
  );
  return rows.length > 0;
}

/** Whether text is a position, as a watcher gives it back. */
export function isPosition(text: string): boolean {
  return /^\d{1,18}-\d{1,18}$/.test(text);
}

/** Forgets events from before `earliest`. */
export async function forgetEvents(on: Queryable, earliest: Date): Promise<void> {
  await on.query('delete from event where at < $1', [earliest]);
}

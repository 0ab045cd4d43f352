import { appendFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';

/** Something that someone did, or tried. It names studies by UID, never a patient. */
export interface AuditEntry {
  /** Who: a token's name or an identity provider's subject; null where nobody said who they are. */
  who: string | null;
  /** The address that a request came from; null for the command line. */
  from: string | null;
  /** What: method and path of a request, without its query; or a command. */
  what: string;
  /** Keys of the query; their values may name a patient. */
  keys?: string[];
  /** HTTP status of the answer, or the exit code. */
  outcome: number;
  /** The same as in the service log. */
  request?: string;
}

/** Where the audit logs of a data folder are. */
export function auditFolder(dataFolder: string): string {
  return join(dataFolder, 'audit');
}

/**
 * Adds a line to the audit log of the day (UTC), `audit/YYYY-MM-DD.jsonl`. It is with the operating system when this
 * returns, so it outlives the process.
 */
export function audit(dataFolder: string, entry: AuditEntry, at: Date = new Date()): void {
  const folder = auditFolder(dataFolder);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const time = at.toISOString();
  const file = join(folder, `${time.slice(0, 10)}.jsonl`);
  appendFileSync(file, `${JSON.stringify({ time, ...entry })}\n`, { mode: 0o600 });
}

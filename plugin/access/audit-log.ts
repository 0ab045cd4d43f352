import { appendFileSync, mkdirSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import type { Logger } from '../log.ts';

/** Something that someone did, or tried. It names studies by UID, never a patient. */
export interface AuditEntry {
  /**
   * Who: a token's name or an identity provider's subject, an AE title as its sender gives it, who runs a command; null
   * where nobody said who they are.
   */
  who: string | null;
  /** The address that a request came from; null for the command line. */
  from: string | null;
  /** What: method and path of a request, without its query; what an association stored; or a command. */
  what: string;
  /** Keys of the query; their values may name a patient. */
  keys?: string[];
  /** HTTP status of the answer, or the exit code; of an association 1 where anything was refused, else 0. */
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

/** Adds a line for what is done already, which a log that cannot be written must not undo: that is logged. */
export function auditDone(dataFolder: string, entry: AuditEntry, log: Logger): void {
  try {
    audit(dataFolder, entry);
  } catch (error) {
    log.error({ error }, 'the audit log cannot be written');
  }
}

/** Adds a line for a command that has been carried out. */
export function auditCommand(dataFolder: string, what: string): void {
  audit(dataFolder, { who: userName(), from: null, what, outcome: 0 });
}

/** A container may run as a user that has no name. */
function userName(): string {
  try {
    return userInfo().username;
  } catch {
    return `uid ${process.getuid!()}`;
  }
}

import { pino, type Logger } from 'pino';

export type { Logger };

/** Level `silent` logs nothing. */
export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent';

/**
 * The service log: JSON lines on stderr. It may hold UIDs; never a patient's name, ID, accession number or
 * birth date. Errors are reduced to type, message and stack, since other fields may quote a data set.
 */
export function createLog(level: LogLevel): Logger {
  return pino(
    {
      level,
      base: null,
      serializers: { error: describeError },
    },
    pino.destination({ fd: 2, sync: true }),
  );
}

function describeError(error: unknown): unknown {
  if (!(error instanceof Error)) return String(error);
  return { type: error.name, message: error.message, stack: error.stack };
}

import { once } from 'node:events';
import type { Response } from 'express';
import { z } from 'zod';
import { isStillPermitted } from '../access/guard.ts';
import { isKept, isPosition, presentPosition } from '../events/event-log.ts';
import type { ApiContext } from './context.ts';
import { Problem } from './problem.ts';
import { route, type Route } from './route.ts';

/** Proxies end connections on which nothing is said for long. */
const heartbeatMs = 15_000;

/**
 * Server-sent events (HTML standard, 9.2). `study`: a scoring is in another state or step; `feedback`: a reader
 * judged a study; `bundle`: another bundle scores for a profile; `rules`: other rules are in force, or a file of
 * rules was refused; `reset`: events were missed, so read everything again.
 */
export function eventRoutes({ database, events }: ApiContext): Route[] {
  return [
    route({
      method: 'get',
      path: '/events',
      summary: 'What happens, as server-sent events; Last-Event-ID goes on where a connection broke off',
      query: z.strictObject({
        /** For what cannot set the header. */
        lastEventId: z.string().refine(isPosition, 'not the ID of an event').optional(),
      }),
      answer: 'text/event-stream',
      async handle({ query, request, response }) {
        const last = request.get('last-event-id') || query.lastEventId;
        if (last !== undefined && !isPosition(last))
          throw new Problem(400, 'Last-Event-ID: not the ID of an event');
        const position = last ?? (await presentPosition(database));
        const ended = new AbortController();
        response.once('close', () => {
          ended.abort();
        });
        response.set({
          'Content-Type': 'text/event-stream',
          'Cache-Control': 'no-store',
          'X-Accel-Buffering': 'no', // nginx would hold events back
        });
        const missed = last !== undefined && !(await isKept(database, last));
        await send(response, missed ? sse(position, 'reset', {}) : `id: ${position}\n\n`, ended.signal);
        for await (const news of events.after(position, heartbeatMs, ended.signal)) {
          if (!(await isStillPermitted(response))) break;
          const text = news.map(({ position, type, data }) => sse(position, type, data)).join('');
          await send(response, text || ': still here\n\n', ended.signal);
        }
        return undefined;
      },
    }),
  ];
}

function sse(id: string, type: string, data: object): string {
  return `id: ${id}\nevent: ${type}\ndata: ${JSON.stringify(data)}\n\n`;
}

/** Waits for a receiver that is slower than the events. */
async function send(response: Response, text: string, signal: AbortSignal): Promise<void> {
  if (!signal.aborted && !response.write(text)) {
    await once(response, 'drain', { signal }).catch(() => undefined);
  }
}

import type { RequestHandler } from 'express';
import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible';
import { sendProblem } from '../api/problem.ts';

/** Answers 429 to an address that sends more requests in a minute than `limit`. */
export function limitRate(limit: number): RequestHandler {
  const limiter = new RateLimiterMemory({ points: limit, duration: 60 });
  return async (request, response, next) => {
    try {
      await limiter.consume(request.ip ?? '');
    } catch (reached) {
      if (!(reached instanceof RateLimiterRes)) throw reached;
      response.set('Retry-After', String(Math.ceil(reached.msBeforeNext / 1000)));
      sendProblem(response, 429, 'too many requests from this address');
      return;
    }
    next();
  };
}

/** A sender that is slower than this is taken for an attacker: the slowest modality sends a thousand times faster. */
const slowestBytesPerSecond = 100;

/**
 * Breaks off a request whose body comes more slowly than `slowestBytesPerSecond` in two windows of `windowMs` on end:
 * senders that dribble would hold connections for ever. Time in which the node itself does not read does not count.
 */
export function refuseSlowBodies(windowMs: number): RequestHandler {
  return (request, response, next) => {
    const { socket } = request;
    let before = socket.bytesRead;
    let slowBefore = false;
    const timer = setInterval(() => {
      const received = socket.bytesRead - before;
      before = socket.bytesRead;
      const slow = request.readableFlowing === true && received * 1000 < slowestBytesPerSecond * windowMs;
      if (slow && slowBefore) {
        stop();
        // Whoever reads the body must hear that no more will come, which Node tells nobody after an answer.
        if (response.headersSent) request.destroy();
        else
          response
            .set('Connection', 'close')
            .status(408)
            .end(() => request.destroy());
      }
      slowBefore = slow;
    }, windowMs);
    const stop = () => {
      clearInterval(timer);
    };
    request.once('end', stop);
    response.once('close', stop);
    next();
  };
}

/** Aborted by SIGINT, SIGTERM and the end of the process that started this: the run then ends after its step. */
export function stopSignal(): AbortSignal {
  const stop = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM', 'disconnect'] as const) {
    process.once(name, () => {
      console.error('ending after this step');
      stop.abort();
    });
  }
  if (process.channel) {
    // Listening for its end alone does not keep this process running, and nobody reads on when it has come.
    process.channel.unref();
    for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
  }
  return stop.signal;
}

import { loadSettings } from '../settings.ts';

/** Exits with 0 if the node of this machine answers, as container health checks want it. */
const { host, port } = loadSettings().http;
const address = host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host;
const answer = await fetch(`http://${address}:${port}/healthz`).catch(() => undefined);
process.exitCode = answer?.ok ? 0 : 1;

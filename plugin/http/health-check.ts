import { loadSettings } from '../settings.ts';

/** Exits with 0 if the node of this machine answers, as container health checks want it. */
const { port } = loadSettings().http;
const answer = await fetch(`http://127.0.0.1:${port}/healthz`).catch(() => undefined);
process.exitCode = answer?.ok ? 0 : 1;

import { fetch } from 'undici';
import { loadSettings } from '../settings.ts';
import { ownNode } from './own-node.ts';

/** Exits with 0 if the node of this machine answers, as container health checks want it. */
const { url, dispatcher } = ownNode(loadSettings());
const answer = await fetch(`${url}/healthz`, { dispatcher }).catch(() => undefined);
process.exitCode = answer?.ok ? 0 : 1;
await answer?.body?.cancel();
await dispatcher.close();

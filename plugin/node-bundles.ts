import { randomUUID } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { fetch, type Agent } from 'undici';
import { importVerifiedBundle } from '../inference/bundle/import-verified.ts';
import { bundleIDs, promote, promotedBundle } from '../inference/bundle/registry.ts';
import { clearShadow, setShadow, shadowBundle } from '../inference/bundle/shadow.ts';
import { apiPath } from './api/router.ts';
import { authorization, causeOf } from './archive/dicomweb-archive.ts';
import { http1Agent } from './http/http1-agent.ts';

/** The node does not give what it is asked for: a token is wrong, or there is no such bundle. */
export class NodeRefusalError extends Error {
  override name = 'NodeRefusalError';
}

/** How a worker reaches its node, and where it keeps bundles. */
export interface NodeBundlesOptions {
  url: string;
  token: string | undefined;
  /** Root of the worker's own registry. */
  root: string;
  /** Folder for files that are not whole yet. */
  incoming: string;
  /** A node that says nothing for this long has failed. */
  timeoutMs: number;
}

/** What the node says of a profile. */
interface Profile {
  name: string;
  promoted: string | null;
  shadow: string | null;
}

/**
 * The bundles of the node in the registry of a worker: it scores with what the node would score with. Bundles are
 * fetched when they are missed, once, and checked by the hashes that they are named after and by the score of their
 * reference input.
 */
export class NodeBundles {
  readonly #options: NodeBundlesOptions;
  readonly #dispatcher: Agent;

  constructor(options: NodeBundlesOptions) {
    this.#options = options;
    this.#dispatcher = http1Agent(options.timeoutMs);
  }

  /**
   * Promotes here, and lets score in shadow, what is promoted and scores in shadow there.
   *
   * @param reference a bundle by ID or name
   * @returns the ID that the node understands by `reference`; that bundle is here now
   * @throws NodeRefusalError if the node knows no such bundle or no such token; Error if it does not answer.
   */
  async follow(reference: string): Promise<string> {
    const { root } = this.#options;
    const { profiles } = (await (await this.#get('/profiles')).json()) as { profiles: Profile[] };
    for (const { name, promoted, shadow } of profiles) {
      if (promoted !== null && (await promotedBundle(root, name)) !== promoted) {
        await this.fetch(promoted);
        await promote(root, promoted);
      }
      if (((await shadowBundle(root, name)) ?? null) === shadow) continue;
      if (shadow === null) await clearShadow(root, name);
      else {
        await this.fetch(shadow);
        await setShadow(root, shadow);
      }
    }
    const { id } = (await (await this.#get(`/bundles/${encodeURIComponent(reference)}`)).json()) as {
      id: string;
    };
    await this.fetch(id);
    return id;
  }

  /** Fetches a bundle by its ID, unless it is here. */
  async fetch(id: string): Promise<void> {
    const { root, incoming } = this.#options;
    if ((await bundleIDs(root)).includes(id)) return;
    const file = join(incoming, randomUUID());
    try {
      const answer = await this.#get(`/bundles/${encodeURIComponent(id)}/export`);
      await pipeline(Readable.fromWeb(answer.body!), createWriteStream(file));
      const bundle = await importVerifiedBundle(root, file);
      if (bundle.id !== id) throw new Error(`the node was asked for bundle ${id} and sent ${bundle.id}`);
    } finally {
      await rm(file, { force: true });
    }
  }

  /** Breaks off what is fetched. */
  close(): Promise<void> {
    return this.#dispatcher.destroy();
  }

  async #get(path: string) {
    const { url, token } = this.#options;
    const at = `${url.replace(/\/$/, '')}${apiPath}${path}`;
    const answer = await fetch(at, {
      dispatcher: this.#dispatcher,
      headers: authorization({ token }),
    }).catch((cause: unknown) => {
      throw new Error(`the node does not answer at ${at}: ${causeOf(cause)}`, { cause });
    });
    if (answer.ok) return answer;
    const { detail = '' } = (await answer.json().catch(() => ({}))) as { detail?: string };
    const message = `the node answered ${answer.status} at ${at}: ${detail}`;
    throw answer.status < 500 && answer.status !== 429 ? new NodeRefusalError(message) : new Error(message);
  }
}

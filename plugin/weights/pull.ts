import { createHash } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { importWeights } from '../../inference/weights/import-weights.ts';
import { listWeights } from '../../inference/weights/store.ts';
import type { StoredWeights } from '../../inference/weights/store.ts';
import type { PublishedWeights } from './catalogue.ts';
import { describeRemote, download } from './download.ts';

/** The Hugging Face hub: `HF_ENDPOINT` names a mirror, `HF_TOKEN` opens what is gated. */
export interface Hub {
  readonly endpoint: string;
  readonly token?: string | undefined;
}

/** The hub that the environment names. */
export function hubFromEnvironment(environment: NodeJS.ProcessEnv = process.env): Hub {
  const { HF_ENDPOINT: endpoint = 'https://huggingface.co', HF_TOKEN: token } = environment;
  return { endpoint: endpoint.replace(/\/+$/, ''), token: token === '' ? undefined : token };
}

/**
 * Downloads published weights and imports them into the registry at `root`. A download that broke off goes on
 * where it ended; weights that are there already are not fetched again.
 *
 * @param progress told the bytes that are there, and all.
 * @throws Error saying which file could not be had, and why; nothing is imported then.
 */
export async function pullWeights(
  root: string,
  { name, from, licence }: PublishedWeights & { name: string },
  hub: Hub,
  progress: (done: number, total: number) => void,
): Promise<StoredWeights[]> {
  const onHub = 'repository' in from;
  const source = onHub ? `${hub.endpoint}/${from.repository}/resolve/main/${from.file}` : from.url;
  const remote = await describeRemote(source, onHub ? hub.token : undefined);
  if (remote.etag === undefined) throw new Error(`${source}: its ETag is not stated`);
  if (onHub && remote.sha256 === undefined) throw new Error(`${source}: the hub states no SHA-256`);

  const existing = (await listWeights(root)).filter((weights) =>
    remote.sha256 === undefined ? weights.source === source : weights.sourceSha256 === remote.sha256,
  );
  if (existing.length > 0) return existing;

  const id = createHash('sha256').update(`${source} ${remote.etag}`).digest('hex');
  const path = join(root, 'weights', '.downloads', id);
  // What is imported is about as long as the file.
  await download(remote, path, remote.length, (done) => {
    progress(done, remote.length);
  });
  try {
    return await importWeights(root, path, { source, name, licence });
  } finally {
    await rm(path);
  }
}

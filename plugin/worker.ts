import { hostname } from 'node:os';
import { DicomPool } from '../dicom/pool.ts';
import { bundleID } from '../inference/bundle/registry.ts';
import { chooseRuntime } from '../inference/provider-choice.ts';
import { openArchives } from './archive/archives.ts';
import { nodeStore } from './archive/node-store.ts';
import { discardUnfinished, openDataFolder } from './data-folder/data-folder.ts';
import { lockFolder } from '../inference/folder-lock.ts';
import { ensureShippedBundles } from './data-folder/shipped-bundles.ts';
import { openPostgres } from './database/postgres.ts';
import { JobQueue } from './jobs/queue.ts';
import { scoreStudyJob } from './jobs/score-study.ts';
import type { Logger } from './log.ts';
import { NodeBundles, NodeRefusalError } from './node-bundles.ts';
import { ScorerCache } from './scoring/scorer-cache.ts';
import { SettingsError, type Settings } from './settings.ts';
import { InstanceStore } from './store/instance-store.ts';

/** A request to the node that is not answered for this long has failed. */
const nodeTimeoutMs = 60_000;
const stopTimeoutMs = 10_000;

/**
 * Takes jobs from the database of a node. Studies come from archives that the settings name, and from the node's own
 * store where they say how to reach the node; then it also scores with the bundles that the node would score with,
 * else with those of its own data folder.
 *
 * @returns what ends the worker; the job that runs is tried again.
 * @throws SettingsError if no database is named, or nothing to fetch studies from; Error if the bundle that scores is not there, or the node refuses it.
 */
export async function startWorker(settings: Settings, log: Logger): Promise<{ stop(): Promise<void> }> {
  const { url } = settings.database;
  if (url === undefined) {
    throw new SettingsError('database.url: a worker needs the PostgreSQL server that the node uses');
  }
  if (settings.node.url === undefined && openArchives(settings).sources.size === 0) {
    throw new SettingsError('node.url: a worker needs it, or an archive to fetch studies from');
  }
  const closers: (() => Promise<void> | void)[] = [];
  const stop = async () => {
    for (const close of closers.splice(0).reverse()) await close();
  };
  try {
    const folder = openDataFolder(settings.data);
    const lock = await lockFolder(folder.root);
    closers.push(() => {
      lock.release();
    });
    discardUnfinished(folder);
    await ensureShippedBundles(folder.root);
    const { provider, precision, passedOver } = await chooseRuntime(settings.inference);
    const { url: nodeURL, token } = settings.node;
    const nodeBundles =
      nodeURL === undefined
        ? undefined
        : new NodeBundles({
            url: nodeURL,
            token,
            root: folder.root,
            incoming: folder.incoming,
            timeoutMs: nodeTimeoutMs,
          });
    closers.push(() => nodeBundles?.close());
    const bundle = await firstBundle(folder.root, settings.bundle, nodeBundles, log);
    log.info({ bundle, provider, precision, passedOver }, 'the model runs on');
    // Closed last: a batch that runs cannot be broken off.
    const options = { batchSize: settings.inference.batchSize, provider, precision };
    const scorers = new ScorerCache(folder.root, options, log);
    const shadowScorers = new ScorerCache(folder.root, options, log);
    closers.push(() => Promise.all([scorers.close(), shadowScorers.close()]).then(() => undefined));
    const database = await openPostgres(url, log);
    closers.push(() => database.close());
    const { threads, timeoutSeconds } = settings.decoding;
    const pool = new DicomPool({
      threads,
      timeoutMs: timeoutSeconds * 1000,
      inflatedBytes: settings.limits.instanceBytes,
    });
    closers.push(() => pool.close());

    const index = new InstanceStore(database, folder.instances);
    const node = nodeURL === undefined ? [] : [nodeStore(index, { url: nodeURL, token }, nodeTimeoutMs)];
    const { sources, destinations } = openArchives(settings, ...node);
    closers.push(async () => {
      for (const archive of destinations.values()) await archive.close();
    });
    const worker = `${hostname()}:${folder.root}`;
    const queue = await JobQueue.open({ database, log, settings: settings.jobs, worker });
    closers.push(() => queue.close(stopTimeoutMs));
    await queue.work(
      await scoreStudyJob({
        settings,
        database,
        archives: sources,
        destinations,
        pool,
        scorers,
        shadowScorers,
        ...(nodeBundles && { nodeBundles }),
        work: folder.work,
        undelivered: folder.undelivered,
        worker,
        log,
      }),
    );
    log.info({ worker, archives: [...sources.keys()] }, 'worker takes jobs');
    return { stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** The ID of the bundle that the settings name, where it can be told already. */
async function firstBundle(
  root: string,
  reference: string,
  nodeBundles: NodeBundles | undefined,
  log: Logger,
): Promise<string | undefined> {
  if (!nodeBundles) {
    return bundleID(root, reference).catch((cause: unknown) => {
      const how = 'set node.url, or bring it here by `bundles export` and `bundles import`';
      throw new Error(`${(cause as Error).message}: ${how}`, { cause });
    });
  }
  return nodeBundles.follow(reference).catch((error: unknown) => {
    if (error instanceof NodeRefusalError) throw error;
    log.warn({ error }, 'the node cannot be asked for bundles yet; each job tries it again');
    return undefined;
  });
}

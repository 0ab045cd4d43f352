import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { hostname } from 'node:os';
import { Server as TlsServer } from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import { DicomPool } from '../dicom/pool.ts';
import { chooseRuntime } from '../inference/provider-choice.ts';
import { requiresAuthentication } from './access/exposure.ts';
import { identifier } from './access/guard.ts';
import { listTokens, tokenFolder } from './access/token.ts';
import { openArchives } from './archive/archives.ts';
import { ShownSeries } from './archive/shown-series.ts';
import { noteForgotten } from './arrival/arrivals.ts';
import { CompleteStudies } from './arrival/complete-studies.ts';
import { localArchive } from './archive/local-archive.ts';
import { watchArchive } from './arrival/watch.ts';
import { discardUnfinished, openDataFolder } from './data-folder/data-folder.ts';
import { lockFolder } from '../inference/folder-lock.ts';
import { ensureShippedBundles } from './data-folder/shipped-bundles.ts';
import type { Database } from './database/database.ts';
import { openDatabase } from './database/open-database.ts';
import { storeSampleStudy } from './demo/sample-study.ts';
import { startStoreScp } from './dimse/store-scp.ts';
import { watchDrift } from './drift/drift-watch.ts';
import { EventFeed } from './events/event-feed.ts';
import { watchPromotions } from './events/promotion-watch.ts';
import { renewCertificate } from './http/certificate.ts';
import { createHttpServer } from './http/server.ts';
import { JobQueue } from './jobs/queue.ts';
import { scoreStudyJob } from './jobs/score-study.ts';
import type { Logger } from './log.ts';
import { Metrics } from './metrics/metrics.ts';
import { applyRetention } from './retention/retention.ts';
import { RetrainingSchedule } from './retraining/schedule.ts';
import { rulesSource, RulesWatch } from './rules/rules-watch.ts';
import { ScorerCache } from './scoring/scorer-cache.ts';
import type { Settings } from './settings.ts';
import { StoreRoom } from './store/room.ts';
import { removeDiscardedFiles } from './store/discarded-files.ts';
import { InstanceStore, localArchiveName } from './store/instance-store.ts';

/** A running node. */
export interface RunningNode {
  /** Where it listens. */
  url: string;
  /** Resolves if it must not go on: another node has taken its database. */
  failure: Promise<Error>;
  /** Stops taking work, ends what runs, closes everything. */
  stop(): Promise<void>;
}

/** How often it is looked whether a study is complete. */
const enqueueMs = 500;

/** A job that runs when the node is stopped is given this long; then it is tried again at the next start. */
const stopTimeoutMs = 10_000;

/**
 * Starts the node: store, queue, archives, HTTP service, and scoring on arrival.
 *
 * @throws FolderLockedError if another process has the data folder open.
 */
export async function startNode(settings: Settings, log: Logger): Promise<RunningNode> {
  const closers: (() => Promise<void> | void)[] = [];
  const stop = async () => {
    for (const close of closers.splice(0).reverse()) await close();
  };
  try {
    const authentication = requiresAuthentication(settings);
    const folder = openDataFolder(settings.data);
    const lock = await lockFolder(folder.root);
    closers.push(() => {
      lock.release();
    });
    discardUnfinished(folder);
    await ensureShippedBundles(folder.root);

    // Closed last: a batch that runs cannot be broken off.
    const { provider, precision, passedOver } = await chooseRuntime(settings.inference);
    log.info({ provider, precision, passedOver }, 'the model runs on');
    const { batchSize } = settings.inference;
    const scorers = new ScorerCache(folder.root, { batchSize, provider, precision }, log);
    const shadowScorers = new ScorerCache(folder.root, { batchSize, provider, precision }, log);
    closers.push(() => Promise.all([scorers.close(), shadowScorers.close()]).then(() => undefined));
    const { promise: failure, resolve: fail } = Promise.withResolvers<Error>();
    const database = await openDatabase(settings, folder, log, fail);
    closers.push(() => database.close());
    const { threads, timeoutSeconds } = settings.decoding;
    const pool = new DicomPool({
      threads,
      timeoutMs: timeoutSeconds * 1000,
      inflatedBytes: settings.limits.instanceBytes,
    });
    closers.push(() => pool.close());

    const room = new StoreRoom(folder.instances, settings.limits);
    const store = new InstanceStore(database, folder.instances, room);
    const { sources, destinations, watched, orthanc } = openArchives(
      settings,
      localArchive({ database, store, pool, incoming: folder.incoming }),
    );
    const rules = await RulesWatch.open(
      database,
      rulesSource(settings),
      { archives: [...destinations.keys()], sources: [...sources.keys()] },
      log,
    );
    closers.push(() => rules.close());
    const worker = `${hostname()}:${folder.root}`; // its lock keeps other processes of that name away
    const queue = await JobQueue.open({ database, log, settings: settings.jobs, worker });
    closers.push(() => queue.close(stopTimeoutMs));
    if (settings.jobs.work) {
      await queue.work(
        await scoreStudyJob({
          settings,
          database,
          archives: sources,
          destinations,
          pool,
          scorers,
          shadowScorers,
          work: folder.work,
          undelivered: folder.undelivered,
          worker,
          log,
        }),
      );
    }

    const storedSince = new Date(settings.arrival.since ?? 0); // what is in the store came after the first start
    for (const studyInstanceUID of await noteForgotten(database, localArchiveName, storedSince)) {
      log.warn({ studyInstanceUID }, 'a stored study was neither scored nor waiting; it waits now');
    }
    const stopping = new AbortController();
    const { signal } = stopping;
    const { quietSeconds } = settings.arrival;
    const events = new EventFeed(database, log);
    const metrics = new Metrics(database, { provider, precision });
    const loops = [
      events.run(signal),
      retainRegularly(settings, database, store, log, signal),
      metrics.follow(events, log, signal),
      (await watchPromotions(folder.root, database, log, signal)).ended,
      watchDrift(database, settings, metrics.registry, log, signal),
      tidyRegularly(queue, database, store, log, signal),
    ];
    for (const archive of sources.values())
      loops.push(
        enqueueRegularly(queue, new CompleteStudies(database, archive, quietSeconds, log), log, signal),
      );
    if (orthanc) {
      const since = settings.arrival.since === undefined ? undefined : new Date(settings.arrival.since);
      loops.push(orthanc.follow(database, log, since, signal));
    }
    for (const { archive, options } of watched) {
      loops.push(watchArchive(archive, database, log, options, signal));
    }
    closers.push(async () => {
      stopping.abort();
      for (const archive of destinations.values()) await archive.close();
      await Promise.all(loops);
    });

    const schedule = new RetrainingSchedule({ settings, root: folder.root, database, log });
    const server = createHttpServer({
      settings,
      authentication,
      precision,
      identify: identifier({ settings }),
      database,
      archives: sources,
      queue,
      rules,
      schedule,
      events,
      store,
      pool,
      shown: new ShownSeries(pool, folder.work),
      incoming: folder.incoming,
      limits: settings.limits,
      room,
      deletion: settings.dicomweb.delete,
      allowedHosts: authentication ? undefined : settings.http.allowedHosts,
      loadSample: () => storeSampleStudy(store, pool, folder.incoming),
      log,
      metrics,
      onHint: () => orthanc?.hint(),
    });
    if (settings.cStore.enabled) {
      const scp = await startStoreScp(
        { data: folder.root, store, pool, incoming: folder.incoming, limits: settings.limits, room, log },
        settings.cStore,
      );
      closers.push(() => scp.close());
      log.info({ aeTitle: settings.cStore.aeTitle, port: scp.port }, 'C-STORE is listening');
    }
    if (settings.http.tls && server instanceof TlsServer) {
      loops.push(renewCertificate(server, settings.http.tls, log, signal));
    }
    if (
      authentication &&
      !settings.access.oidc &&
      (await listTokens(tokenFolder(folder.root))).length === 0
    ) {
      log.warn('nobody can use the node yet: qfae token create NAME --role admin');
    }
    server.listen(settings.http.port, settings.http.host);
    await once(server, 'listening');
    closers.push(async () => {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    });
    const { address, family, port } = server.address() as AddressInfo;
    loops.push(schedule.follow(port, signal));
    const url = `http${settings.http.tls ? 's' : ''}://${family === 'IPv6' ? `[${address}]` : address}:${port}`;
    log.info({ url, bundle: settings.bundle, orthanc: settings.orthanc?.url }, 'node is listening');
    return { url, failure, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Queues the studies of an archive that are complete, as soon as they are. */
async function enqueueRegularly(
  queue: JobQueue,
  complete: CompleteStudies,
  log: Logger,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    try {
      for (const study of await complete.at(new Date())) await queue.enqueue(study);
    } catch (error) {
      log.error({ error }, 'complete studies could not be queued');
    }
    await sleep(enqueueMs, undefined, { signal }).catch(() => undefined);
  }
}

/** Mends, every minute, what processes that were killed left behind. */
async function tidyRegularly(
  queue: JobQueue,
  database: Database,
  store: InstanceStore,
  log: Logger,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    await queue
      .recoverLost()
      .then(() => removeDiscardedFiles(database, store))
      .catch((error: unknown) => {
        log.error({ error }, 'what was left behind could not be mended');
      });
    await sleep(60_000, undefined, { signal }).catch(() => undefined);
  }
}

/** Removes, every hour, what is no longer to be kept, and makes room for what comes. */
async function retainRegularly(
  { data, retention }: Settings,
  database: Database,
  store: InstanceStore,
  log: Logger,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    try {
      const removed = await applyRetention(database, store, data, retention, new Date(), signal);
      if (Object.values(removed).some((count: number) => count > 0))
        log.info(removed, 'kept for long enough, and removed');
    } catch (error) {
      log.error({ error }, 'what is not to be kept could not be removed');
    }
    await sleep(3600_000, undefined, { signal }).catch(() => undefined);
    if (signal.aborted) break;
    await database.vacuum?.().catch((error: unknown) => {
      log.error({ error }, 'the database could not be vacuumed');
    });
  }
}

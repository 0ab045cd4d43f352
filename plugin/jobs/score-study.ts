import { randomUUID } from 'node:crypto';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { DicomPool } from '../../dicom/pool.ts';
import { DicomError } from '../../dicom/reading/dicom-error.ts';
import type { ScoredSlice } from '../../dicom/result.ts';
import { rejectionNote } from '../../dicom/ko/key-object-selection.ts';
import { REPORT_SOP_CLASSES } from '../../dicom/sr/measurement-report.ts';
import { resultIdentity } from '../../dicom/writing/result-uid.ts';
import { uidFrom } from '../../dicom/uid.ts';
import { shadowBundle } from '../../inference/bundle/shadow.ts';
import type { Bundle } from '../../inference/bundle/schema.ts';
import {
  NoteRefusedError,
  type Archive,
  type Destination,
  type InstanceReference,
} from '../archive/archive.ts';
import type { Database } from '../database/database.ts';
import type { Logger } from '../log.ts';
import type { NodeBundles } from '../node-bundles.ts';
import { keepShadowScore } from '../retraining/shadow-scores.ts';
import { decide } from '../rules/decide.ts';
import { planOf, type Plan } from '../rules/plan.ts';
import { ruleBook } from '../rules/rule-book.ts';
import { lookAtStudies, sourceInstances, studyAttributes } from '../rules/study-attributes.ts';
import { resultContext } from '../scoring/algorithm.ts';
import { keepMap, keptMap } from '../scoring/kept-map.ts';
import { ResultObjects } from '../scoring/result-objects.ts';
import type { ScorerCache } from '../scoring/scorer-cache.ts';
import { scoreSeries, type Reporting } from '../scoring/score-series.ts';
import { candidateSeries } from '../scoring/candidate-series.ts';
import { selectSeries, type SelectedSeries } from '../scoring/series-selection.ts';
import { subjectOf } from '../scoring/subject.ts';
import type { Settings } from '../settings.ts';
import { version } from '../version.ts';
import { TimeLimitError, type ScoreStudy } from './queue.ts';
import { deliver } from './deliver.ts';
import { UndeliveredResults, type MadeResult } from './undelivered.ts';
import {
  acceptedObjects,
  beginRun,
  dropScoring,
  lastFinished,
  resultObjectsOf,
  RunLostError,
  updateScoring,
  type Run,
  type Scoring,
  type SliceRecord,
} from './scorings.ts';

/** What a job needs of the node. */
export interface ScoreStudyContext {
  settings: Settings;
  database: Database;
  archives: Map<string, Archive>;
  /** Where results may go; the archives are among them. */
  destinations: Map<string, Destination>;
  pool: DicomPool;
  scorers: ScorerCache;
  /** Of a worker: where bundles come from, and what is promoted. The node has its own. */
  nodeBundles?: NodeBundles;
  /** Of candidates that score in shadow. */
  shadowScorers: ScorerCache;
  /** Folder for fetched series. */
  work: string;
  /** Folder for results that are not delivered yet. */
  undelivered: string;
  /** The name of this process among those that take jobs. */
  worker: string;
  log: Logger;
}

/**
 * The job: ask the archive what it holds of a study, fetch the series that fits, score it, write the result
 * objects beside the study, and see by query that they are there. Every step can be repeated: UIDs and bytes of
 * the result depend on the scoring's row only. Undelivered results that nobody waits for are removed now, and before
 * each job.
 */
export async function scoreStudyJob(context: ScoreStudyContext): Promise<ScoreStudy> {
  const undelivered = new UndeliveredResults(context.database, context.undelivered);
  await undelivered.tidy();
  return async (scoringID, { last, signal }) => {
    const { database } = context;
    await undelivered.tidy();
    const begun = await beginRun(database, scoringID, context.worker);
    if (!begun) return;
    const { scoring, run } = begun;
    const log = context.log.child({ scoring: scoringID, studyInstanceUID: scoring.studyInstanceUID });
    const folder = join(context.work, randomUUID());
    let step = 'query';
    const enter = async (next: string) => {
      signal.throwIfAborted();
      step = next;
      await updateScoring(database, run, { step });
    };
    try {
      await mkdir(folder, { recursive: true });
      const study = new StudyScoring(context, undelivered, scoring, run, folder, enter, signal, log);
      await study.run();
      await undelivered.forget(scoringID);
      await study.scoreInShadow();
    } catch (error) {
      if (error instanceof RunLostError) {
        await undelivered.forget(scoringID);
        log.warn({ step }, error.message);
        return;
      }
      const late = signal.reason instanceof TimeLimitError;
      const cause = late ? signal.reason : (error as Error);
      // Bytes that cannot be read stay so, and what takes too long does again; an archive that is away comes back.
      const unreadable = cause instanceof DicomError && !['timeout', 'worker'].includes(cause.reason);
      const final = last || late || unreadable;
      log.error({ step, error: cause }, final ? 'scoring failed' : 'scoring failed and will be tried again');
      await updateScoring(database, run, {
        state: final ? 'failed' : 'queued',
        step,
        reason: cause.message,
        finishedAt: final ? new Date() : null,
      });
      if (final || !(await undelivered.has(scoringID))) await undelivered.forget(scoringID);
      if (!final) throw error;
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  };
}

/** One run of one scoring. */
class StudyScoring {
  readonly #context: ScoreStudyContext;
  readonly #undelivered: UndeliveredResults;
  readonly #scoring: Scoring;
  readonly #run: Run;
  readonly #archive: Archive;
  /** Where the plan sends the result. */
  #destinations: Destination[] = [];
  /** What this run scored: nothing, where it delivers what an earlier one has made. */
  #scored: { bundle: Bundle; series: SelectedSeries } | undefined;
  readonly #folder: string;
  readonly #enter: (step: string) => Promise<void>;
  readonly #signal: AbortSignal;
  readonly #log: Logger;

  constructor(
    context: ScoreStudyContext,
    undelivered: UndeliveredResults,
    scoring: Scoring,
    run: Run,
    folder: string,
    enter: (step: string) => Promise<void>,
    signal: AbortSignal,
    log: Logger,
  ) {
    const archive = context.archives.get(scoring.archive);
    if (!archive) throw new Error(`no archive ${scoring.archive} in the settings`);
    this.#context = context;
    this.#undelivered = undelivered;
    this.#scoring = scoring;
    this.#run = run;
    this.#archive = archive;
    this.#folder = folder;
    this.#enter = enter;
    this.#signal = signal;
    this.#log = log;
  }

  async run(): Promise<void> {
    const { database } = this.#context;
    await this.#enter('query');
    const sources = await sourceInstances(database, this.#archive, this.#scoring.studyInstanceUID);
    const plan = await this.#plan(sources);
    if (!('reason' in plan)) this.#destinations = plan.to.map((name) => this.#destination(name));
    const before = await lastFinished(database, this.#scoring);
    const sourceFingerprint = uidFrom([
      ...sources.map(({ sopInstanceUID }) => sopInstanceUID).sort(),
      ...('reason' in plan ? [plan.reason] : [plan.bundle, JSON.stringify(plan.outputs)]),
      version,
    ]);
    if (before?.sourceFingerprint === sourceFingerprint && (await this.#hasResults(before))) {
      return this.#drop('nothing new arrived');
    }
    await updateScoring(database, this.#run, { sourceFingerprint, rule: plan.rule });
    if ('reason' in plan) return this.#leave(plan.reason);
    const last = await lastFinished(database, this.#scoring, 'scored');
    const source = { sourceFingerprint, predecessorID: last?.id };
    const made =
      (await this.#undelivered.get(this.#scoring.id, source)) ??
      (await this.#make(plan, sources, last, source));
    if (!made) return;
    const { objects, context, header, score, slices, resultIdentity: identity } = made;
    for (const destination of this.#destinations) {
      await deliver({
        database,
        log: this.#log,
        scoring: this.#scoring,
        destination,
        objects,
        enter: this.#enter,
        rejectionNote: (rejected) => rejectionNote(context, header, rejected),
      });
    }
    await this.#enter('note');
    for (const destination of this.#destinations) {
      await destination.note?.(this.#scoring.studyInstanceUID, score).catch((error: unknown) => {
        if (!(error instanceof NoteRefusedError)) throw error;
        this.#log.warn(
          { error, archive: destination.name },
          'the archive takes no percentile beside the study',
        );
      });
    }
    await this.#finish({ state: 'scored', score, slices, resultIdentity: identity });
    this.#log.info(
      { bundle: plan.bundle, slices: slices.length, objects: objects.length, ...score },
      'study is scored',
    );
  }

  /**
   * Lets the candidate of the profile, if one is in shadow, score the slices that this run scored. What it fails in is
   * only logged.
   */
  async scoreInShadow(): Promise<void> {
    if (!this.#scored) return;
    const { series } = this.#scored;
    const { profile } = this.#scored.bundle;
    const { database, pool, settings, shadowScorers } = this.#context;
    let id: string | undefined;
    try {
      id = await shadowBundle(settings.data, profile.name);
      if (id === undefined) return;
      const scorer = await shadowScorers.get(id);
      if (JSON.stringify(scorer.bundle.profile) !== JSON.stringify(profile)) {
        throw new Error('its profile is another: it would score other slices');
      }
      const report = () => Promise.resolve();
      const { study } = await scoreSeries(pool, scorer, series, { slices: 'off', report }, this.#signal);
      await keepShadowScore(database, this.#scoring.id, { bundle: id, score: study });
      this.#log.info({ bundle: id, ...study }, 'study is scored in shadow');
    } catch (error) {
      this.#log.error({ bundle: id, error }, 'scoring in shadow failed');
    }
  }

  /** Fetches, chooses and scores a series; undefined where the scoring has come to its end without a result. */
  async #make(
    plan: Plan,
    sources: InstanceReference[],
    last: Scoring | undefined,
    source: Pick<MadeResult, 'sourceFingerprint' | 'predecessorID'>,
  ): Promise<MadeResult | undefined> {
    const { database, pool, scorers } = this.#context;
    const { requestedAt } = this.#scoring;
    const scorer = await scorers.get(plan.bundle);
    const { bundle } = scorer;
    await updateScoring(database, this.#run, { bundle: bundle.id, profile: bundle.profile.name });

    await this.#enter('retrieve');
    const { studyInstanceUID } = this.#scoring;
    const study = { archive: this.#archive, pool, studyInstanceUID, folder: this.#folder };
    const candidates = candidateSeries(study, sources, plan.series);
    const series = await selectSeries(pool, bundle.profile, candidates, this.#signal);
    if ('reason' in series) {
      await this.#leave(series.reason);
      return undefined;
    }
    const { seriesInstanceUID, remarks, notScored } = series;
    const [first] = series.slices;
    await updateScoring(database, this.#run, {
      subject: subjectOf(series.instances[first.index].header.dataset),
      selection: { seriesInstanceUID, remarks, notScored },
    });
    this.#log.info({ seriesInstanceUID, remarks, notScored }, 'series is chosen');
    const context = resultContext(bundle, plan.outputs, series.sourceUIDs, requestedAt);
    const identity = resultIdentity(context);
    const lost = last?.resultIdentity === identity;
    if (lost && (await this.#hasResults(last))) {
      await this.#drop('the scored series is the same');
      return undefined;
    }
    // A result that the archive lost is written again as it was, with its own time and no predecessor.
    const result = lost ? { ...context, performedAt: last.requestedAt } : context;
    const predecessor = lost ? undefined : last;

    await this.#enter('score');
    await this.#undelivered.forget(this.#scoring.id);
    const folder = this.#undelivered.folderOf(this.#scoring.id);
    await mkdir(folder, { recursive: true });
    const results = new ResultObjects(
      result,
      bundle,
      plan.outputs,
      series,
      this.#folder,
      (_kind, sopInstanceUID) => join(folder, sopInstanceUID),
    );
    const reporting: Reporting = {
      ...results.reporting,
      each: async (slice) => {
        await results.reporting.each?.(slice);
        await keepMap(database, this.#scoring.id, slice.index, await keptMap(slice));
      },
    };
    const score = await scoreSeries(pool, scorer, series, reporting, this.#signal);
    const replaced = predecessor
      ? await Promise.all(
          this.#destinations.map(({ name }) => resultObjectsOf(database, predecessor.id, name)),
        )
      : [];
    const report = replaced.flat().find(({ sopClassUID }) => measurementReports.includes(sopClassUID));
    const [{ header }] = series.instances;
    this.#scored = { bundle, series };
    const made: MadeResult = {
      ...source,
      resultIdentity: identity,
      score: score.study,
      slices: score.slices.map((scored, i) => sliceRecord(scored, series.slices[i].position)),
      objects: await results.finish(score, report),
      context: result,
      header: header.dataset,
    };
    await this.#undelivered.keep(this.#scoring.id, made);
    return made;
  }

  /** What the rules in force say is to be done, as far as the archive tells what the study is. */
  async #plan(sources: InstanceReference[]): Promise<Plan | { rule: string | null; reason: string }> {
    const { database, settings, nodeBundles } = this.#context;
    const { rules } = await ruleBook(database);
    const { archive, sourceAETitle, rule, bundle, selection } = this.#scoring;
    const study = lookAtStudies(rules)
      ? await studyAttributes(database, this.#archive, this.#scoring, sources)
      : { archive, sourceAETitle, series: [] };
    // What an earlier attempt chose stays: it may be delivered without being chosen again.
    if (study.series.length > 0 && selection === null) {
      await updateScoring(database, this.#run, { subject: subjectOf(study.series[0].dataset) });
    }
    const promoted = (await nodeBundles?.follow(settings.bundle)) ?? settings.bundle;
    const plan = await planOf(decide(rules, study), { ...settings, bundle: promoted }, archive);
    if ('reason' in plan || rule !== plan.rule || bundle === null) return plan;
    await nodeBundles?.fetch(bundle);
    return { ...plan, bundle }; // a retry keeps its bundle
  }

  #destination(name: string): Destination {
    const destination = this.#context.destinations.get(name);
    if (!destination) throw new Error(`no archive ${name} in the settings`);
    return destination;
  }

  /** Whether all that a scoring wrote is still where it was sent, as far as that can be asked. */
  async #hasResults(scoring: Scoring): Promise<boolean> {
    const { database } = this.#context;
    for (const destination of this.#destinations) {
      const objects = await resultObjectsOf(database, scoring.id, destination.name);
      if (objects.length === 0 && scoring.state === 'scored') return false; // sent elsewhere so far
      const present = new Set(
        (
          (await destination.instances(scoring.studyInstanceUID)) ??
          (await acceptedObjects(database, destination.name, scoring))
        ).map(({ sopInstanceUID }) => sopInstanceUID),
      );
      if (!objects.every(({ sopInstanceUID }) => present.has(sopInstanceUID))) return false;
    }
    return true;
  }

  async #leave(reason: string): Promise<void> {
    this.#log.info({ reason }, 'study is not scored');
    await this.#finish({ state: 'not-scored', reason });
  }

  async #drop(reason: string): Promise<void> {
    this.#log.info({ reason }, 'study has its result already');
    await dropScoring(this.#context.database, this.#run);
  }

  async #finish(change: Parameters<typeof updateScoring>[2]): Promise<void> {
    await updateScoring(this.#context.database, this.#run, {
      reason: null,
      ...change,
      step: null,
      finishedAt: new Date(),
    });
  }
}

function sliceRecord({ slice, score }: ScoredSlice, position: number | undefined): SliceRecord {
  const { sopInstanceUID, frame, rows, columns } = slice;
  return { sopInstanceUID, frame, rows, columns, position: position ?? null, score };
}

/** SOP classes of the reports that one may replace: a key object document has a similar one, and is none. */
const measurementReports: string[] = Object.values(REPORT_SOP_CLASSES);

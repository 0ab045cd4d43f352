import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Validator } from '@seriousme/openapi-schema-validator';
import { Ajv2020 } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import express from 'express';
import { DicomPool } from '../../dicom/pool.ts';
import { archiveDouble } from '../../fixtures/archive-double.ts';
import { addBundle, openBundle } from '../../inference/bundle/registry.ts';
import { ensureUntrained } from '../../inference/bundle/untrained.ts';
import { ShownSeries } from '../archive/shown-series.ts';
import { openEmbeddedDatabase, type Database } from '../database/database.ts';
import { EventFeed } from '../events/event-feed.ts';
import { enterEvent, forgetEvents } from '../events/event-log.ts';
import { studiesJudged } from '../feedback/feedback.ts';
import { JobQueue } from '../jobs/queue.ts';
import { createLog } from '../log.ts';
import { enterRetraining, updateRetraining } from '../retraining/retrainings.ts';
import { RetrainingSchedule } from '../retraining/schedule.ts';
import { enforceRules } from '../rules/rule-book.ts';
import { settingsSchema } from '../settings.ts';
import { apiPath, apiRouter } from './router.ts';

interface Description {
  paths: Record<string, Record<string, { responses: Record<string, { content: object }> }>>;
  components: object;
}

let folder: string;
let database: Database;
let server: Server;
let url: string;
const stopping = new AbortController();
let feed: Promise<void>;
let router: express.Router;
let pool: DicomPool;
let queue: JobQueue;
let pacs: ReturnType<typeof archiveDouble>;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'qfae-api-'));
  database = await openEmbeddedDatabase(join(folder, 'database'));
  const log = createLog('silent');
  const events = new EventFeed(database, log);
  feed = events.run(stopping.signal);
  const settings = settingsSchema.parse({ data: folder, bundle: 'untrained' });
  await ensureUntrained(folder);
  queue = await JobQueue.open({ database, log, settings: settings.jobs, worker: 'test' });
  const mr = {
    '00080060': { vr: 'CS', Value: ['MR'] },
    '00100010': { vr: 'PN', Value: [{ Alphabetic: 'Doe^J' }] },
  };
  pacs = archiveDouble(
    'pacs',
    new Map([['1.2.3', [{ seriesInstanceUID: '1.2.3.1', instances: 3, dataset: mr }]]]),
  );
  pool = new DicomPool({ threads: 1 });
  router = apiRouter({
    settings,
    authentication: false,
    precision: 'float16',
    identify: () => Promise.resolve(undefined),
    database,
    archives: new Map([['pacs', pacs.archive]]),
    queue,
    rules: { state: { file: 'rules.yaml', problems: [] } },
    schedule: new RetrainingSchedule({ settings, root: folder, database, log }),
    events,
    pool,
    shown: new ShownSeries(pool, join(folder, 'work')),
    loadSample: () => Promise.resolve('1.2.3'),
    log,
  });
  const app = express();
  app.use((_request, response, next) => {
    response.locals['isPermitted'] = () => Promise.resolve(true); // no guard stands before this API
    next();
  });
  server = createServer(app.use(apiPath, router)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}${apiPath}`;
  await fillWorklist();
}, 300_000);

afterAll(async () => {
  server.closeAllConnections();
  server.close();
  stopping.abort();
  await feed;
  await queue.close(1000);
  await pool.close();
  await database.close();
  rmSync(folder, { recursive: true });
});

/** Studies 1.1 … 1.9 with percentiles 10 … 90; 1.10 is not scored, 1.11 waits. */
async function fillWorklist(): Promise<void> {
  for (let i = 1; i <= 9; i++) {
    await database.query(
      `insert into scoring (archive, study_instance_uid, requested_at, state, bundle, profile, score, subject, slices,
         finished_at)
       values ('local', $1, $2, 'scored', 'b@000000000000', $3, $4, $5, $6, $2)`,
      [
        `1.${i}`,
        `2026-01-0${i}T12:00:00Z`,
        i % 2 ? 'brain-mri' : 'chest-xray',
        score(10 * i),
        { modality: i % 2 ? 'MR' : 'DX', studyDate: `2025-12-0${i}`, seriesInstanceUID: `1.${i}.1` },
        JSON.stringify([
          {
            sopInstanceUID: `1.${i}.1.1`,
            frame: 1,
            rows: 8,
            columns: 9,
            position: null,
            score: score(10 * i),
          },
        ]),
      ],
    );
  }
  await database.query(
    `insert into scoring (archive, study_instance_uid, requested_at, state, reason)
     values ('local', '1.10', '2026-02-01T00:00:00Z', 'not-scored', 'the study holds no images'),
            ('local', '1.11', '2026-02-02T00:00:00Z', 'queued', null),
            ('local', '1.1', '2026-02-03T00:00:00Z', 'queued', null)`,
  );
}

function score(percentile: number) {
  return {
    rawScore: percentile / 10,
    pValue: 1 - percentile / 100,
    percentile,
    threshold: 8,
    flagged: percentile > 80,
  };
}

let description: Description;
const ajv = new Ajv2020({ strict: false });
addFormats.default(ajv);

/** Fetches JSON and holds it to what the description says of this path. */
async function call(path: string, described: string, init: RequestInit = {}) {
  description ??= (await (await fetch(`${url}/openapi.json`)).json()) as Description;
  const answer = await fetch(`${url}${path}`, init);
  const body = (await answer.json()) as Record<string, unknown>;
  const method = (init.method ?? 'GET').toLowerCase();
  const response = description.paths[described][method].responses[answer.status] as
    { content: Record<string, { schema: object }> } | undefined;
  const type = answer.headers.get('content-type')!.split(';')[0];
  const valid = ajv.compile({ ...response?.content[type].schema, components: description.components });
  expect({ path, valid: valid(body), errors: valid.errors }).toEqual({ path, valid: true, errors: null });
  return { status: answer.status, body };
}

const worklist = async (query: string) => {
  const { body } = await call(`/studies?${query}`, '/studies');
  return (body['studies'] as { studyInstanceUID: string }[]).map(({ studyInstanceUID }) => studyInstanceUID);
};

const post = (body: unknown, headers: Record<string, string> = {}): RequestInit => ({
  method: 'POST',
  body: JSON.stringify(body),
  headers: { 'content-type': 'application/json', ...headers },
});

describe('the description', () => {
  test('is valid OpenAPI 3.1', async () => {
    const document = (await (await fetch(`${url}/openapi.json`)).json()) as object;
    const { valid, errors } = await new Validator().validate(document as Record<string, unknown>);
    expect({ valid, errors }).toEqual({ valid: true, errors: undefined });
  });

  test('names every route that is served, and no other', async () => {
    const { paths } = (await (await fetch(`${url}/openapi.json`)).json()) as Description;
    const described = Object.entries(paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method} ${path.replace(/\{(\w+)\}/g, ':$1')}`),
    );
    const served = router.stack.flatMap(({ route }) =>
      route ? route.stack.map(({ method }) => `${method} ${route.path}`) : [],
    );
    expect(new Set(served)).toEqual(new Set([...described, 'get /openapi.json']));
    expect(described.length).toBeGreaterThan(4);
  });
});

describe('the worklist', () => {
  test('shows the most abnormal first, what has no score last', async () => {
    expect(await worklist('')).toEqual([9, 8, 7, 6, 5, 4, 3, 2, 1, 11, 10].map((i) => `1.${i}`));
    expect(await worklist('sort=oldest&limit=3')).toEqual(['1.1', '1.2', '1.3']);
    expect(await worklist('sort=studyDate&limit=2')).toEqual(['1.9', '1.8']);
  });

  test.each([
    ['flagged=true', ['1.9']],
    ['flagged=false&limit=1', ['1.8']],
    ['modality=DX', ['1.8', '1.6', '1.4', '1.2']],
    ['modality=DX,MR&status=scored&limit=2&offset=8', ['1.1']],
    ['profile=brain-mri&limit=1', ['1.9']],
    ['status=not-scored,queued', ['1.1', '1.11', '1.10']],
    ['requestedFrom=2026-01-08T00:00:00Z&requestedTo=2026-01-09T00:00:00Z', ['1.8']],
    ['studyDateFrom=2025-12-03&studyDateTo=2025-12-04', ['1.4', '1.3']],
    ['study=1.5', ['1.5']],
    ['archive=orthanc', []],
  ])('%s', async (query, studies) => {
    expect(await worklist(query)).toEqual(studies);
  });

  test('pages, and counts what fits the filter', async () => {
    const { body } = await call('/studies?modality=MR&limit=2&offset=4', '/studies');
    expect(body).toMatchObject({ total: 5, limit: 2, offset: 4, studies: [{ studyInstanceUID: '1.1' }] });
  });

  test('shows the result of a study that waits for another one', async () => {
    const { body } = await call('/studies/local/1.1', '/studies/{archive}/{study}');
    expect(body).toMatchObject({
      status: 'scored',
      next: { status: 'queued', requestedAt: '2026-02-03T00:00:00.000Z' },
      scorings: [{ status: 'queued' }, { status: 'scored', score: { percentile: 10 } }],
      slices: [{ sopInstanceUID: '1.1.1.1', frame: 1, score: { rawScore: 1 } }],
    });
  });
});

test('a study leaves the worklist with the last of its scorings', async () => {
  const add = `insert into scoring (archive, study_instance_uid, requested_at, state)
    values ('local', '1.12', $1, 'failed') returning id`;
  const [first] = await database.query<{ id: string }>(add, ['2026-02-05T00:00:00Z']);
  const [second] = await database.query<{ id: string }>(add, ['2026-02-06T00:00:00Z']);
  await database.query('delete from scoring where id = $1', [second.id]);
  const { body } = await call('/studies?study=1.12', '/studies');
  expect(body).toMatchObject({ studies: [{ requestedAt: '2026-02-05T00:00:00.000Z', next: null }] });
  await database.query('delete from scoring where id = $1', [first.id]);
  expect(await worklist('study=1.12')).toEqual([]);
});

describe('a study whose newer scoring failed', () => {
  beforeAll(async () => {
    await database.query(
      `insert into scoring (archive, study_instance_uid, requested_at, state, step, reason)
       values ('local', '1.9', '2026-02-04T00:00:00Z', 'failed', 'retrieve', 'fetch failed')`,
    );
  });

  afterAll(async () => {
    await database.query("delete from scoring where study_instance_uid = '1.9' and state = 'failed'");
  });

  test('keeps its result and its place, tells the failure, and is found by it', async () => {
    expect(await worklist('limit=1')).toEqual(['1.9']);
    expect(await worklist('flagged=true')).toEqual(['1.9']);
    expect(await worklist('status=failed,cancelled')).toEqual(['1.9']);
    const { body } = await call('/studies/local/1.9', '/studies/{archive}/{study}');
    expect(body).toMatchObject({
      status: 'scored',
      score: { percentile: 90, flagged: true },
      next: { status: 'failed', step: 'retrieve', reason: 'fetch failed' },
      slices: [{ sopInstanceUID: '1.9.1.1' }],
    });
  });
});

describe('a wrong request is a problem that names what is wrong', () => {
  test.each([
    ['/studies?limit=0', '/studies', 400, /query\.limit/],
    ['/studies?limit=501', '/studies', 400, /query\.limit: at most 500/],
    ['/studies?colour=red', '/studies', 400, /colour/],
    ['/studies?status=lost', '/studies', 400, /query\.status/],
    ['/studies?flagged=yes', '/studies', 400, /query\.flagged/],
    ['/studies?requestedFrom=yesterday', '/studies', 400, /query\.requestedFrom/],
    ['/studies/local/no-uid', '/studies/{archive}/{study}', 400, /path\.study: not a UID/],
    ['/studies/local/1.99', '/studies/{archive}/{study}', 404, /no study 1\.99/],
    ['/events?lastEventId=x', '/events', 400, /query\.lastEventId/],
  ])('%s', async (path, described, status, detail) => {
    const { status: answered, body } = await call(path, described);
    expect([answered, body['detail']]).toEqual([status, expect.stringMatching(detail)]);
  });

  test('also where there is no such route, and where a path is malformed', async () => {
    for (const [path, status] of [
      ['/nothing', 404],
      ['/studies/local/%ff', 400],
    ] as const) {
      const answer = await fetch(`${url}${path}`);
      expect([answer.status, answer.headers.get('content-type')]).toEqual([
        status,
        expect.stringContaining('application/problem+json'),
      ]);
    }
  });
});

describe('feedback', () => {
  const path = '/studies/{archive}/{study}/feedback';

  test('is kept, the last one counts, and training can ask for the normals', async () => {
    for (const [study, label] of [
      ['1.2', 'abnormal'],
      ['1.2', 'normal'],
      ['1.3', 'normal'],
      ['1.3', 'withdrawn'],
      ['1.4', 'artefact'],
    ]) {
      const { status } = await call(
        `/studies/local/${study}/feedback`,
        path,
        post({ label, reader: 'Dr. A' }),
      );
      expect(status).toBe(200);
    }
    const { body } = await call('/studies/local/1.2', '/studies/{archive}/{study}');
    expect(body).toMatchObject({
      feedback: { label: 'normal', reader: 'Dr. A' },
      feedbackHistory: [{ label: 'normal' }, { label: 'abnormal' }],
    });
    expect(await studiesJudged(database, 'normal')).toMatchObject([
      { archive: 'local', studyInstanceUID: '1.2' },
    ]);
    expect(await worklist('feedback=normal,artefact')).toEqual(['1.4', '1.2']);
    expect(await worklist('feedback=none')).toHaveLength(9);
  });

  test.each([
    [{ label: 'fine', reader: 'A' }, {}, 400, /body\.label/],
    [{ label: 'normal' }, {}, 400, /body\.reader: say who reads/],
    [{ label: 'normal', reader: ' ' }, {}, 400, /body\.reader/],
    [{ label: 'normal', reader: 'A\0' }, {}, 400, /body\.reader/],
    [{ label: 'normal', reader: 'A', more: 1 }, {}, 400, /more/],
    [{ label: 'normal', reader: 'A' }, { 'content-type': 'text/plain' }, 415, /application\/json/],
    [{ label: 'normal', reader: 'A' }, { origin: 'https://elsewhere.example' }, 403, /another origin/],
  ])('%j %j is refused', async (body, headers, status, detail) => {
    const answer = await call('/studies/local/1.9/feedback', path, post(body, headers));
    expect([answer.status, answer.body['detail']]).toEqual([status, expect.stringMatching(detail)]);
  });

  test('for a study that nobody knows is refused, and nothing is kept of what was', async () => {
    const judgement = post({ label: 'normal', reader: 'A' });
    expect((await call('/studies/local/1.99/feedback', path, judgement)).status).toBe(404);
    const broken = { ...judgement, body: '{' };
    expect((await call('/studies/local/1.9/feedback', path, broken)).status).toBe(400);
    expect(await studiesJudged(database, 'normal')).toHaveLength(1);
  });
});

describe('jobs', () => {
  const job = async (study: string) => {
    const { body } = await call(`/jobs?study=${study}`, '/jobs');
    return (body['jobs'] as { id: string; state: string }[])[0];
  };

  test('are listed, cancelled and retried; what cannot be done is a conflict', async () => {
    const { id, state } = await job('1.11');
    expect(state).toBe('queued');
    expect((await call(`/jobs/${id}/retry`, '/jobs/{job}/retry', post({}))).status).toBe(409);
    const first = await call(`/jobs/${id}/priority`, '/jobs/{job}/priority', post({ priority: 7 }));
    expect(first.body).toMatchObject({ id, state: 'queued', priority: 7 });
    expect(await worklist('sort=priority&limit=2')).toEqual(['1.11', '1.9']);
    const cancelled = await call(`/jobs/${id}/cancel`, '/jobs/{job}/cancel', post({}));
    expect(cancelled.body['state']).toBe('cancelled');
    expect((await call('/jobs?state=cancelled', '/jobs')).body['jobs']).toHaveLength(1);
    const late = await call(`/jobs/${id}/priority`, '/jobs/{job}/priority', post({ priority: 8 }));
    expect(late.status).toBe(409);
    const retried = await call(`/jobs/${id}/retry`, '/jobs/{job}/retry', post({}));
    expect(retried.body['state']).toBe('queued');
    expect((await call(`/jobs/${id}`, '/jobs/{job}')).body).toMatchObject({ id, studyInstanceUID: '1.11' });
  });

  test('are asked for in numbers, from an archive or again', async () => {
    const query = { archive: 'pacs', query: { ModalitiesInStudy: 'MR' }, limit: 5, dryRun: true };
    const wanted = await call('/backfill', '/backfill', post(query));
    expect(wanted.body).toEqual({ found: 1, studies: ['1.2.3'] });
    expect((await call('/backfill', '/backfill', post({ ...query, archive: 'x' }))).status).toBe(404);
    expect((await call('/backfill', '/backfill', post({ ...query, limit: 0 }))).status).toBe(400);
    const again = await call(
      '/rescore',
      '/rescore',
      post({ studies: ['1.3', '9.9'], limit: 5, dryRun: true }),
    );
    expect(again.body).toEqual({ found: 1, studies: ['1.3'] });
  });

  test('that nobody knows are not found', async () => {
    const id = '00000000-0000-4000-8000-000000000000';
    expect((await call(`/jobs/${id}`, '/jobs/{job}')).status).toBe(404);
    expect((await call(`/jobs/${id}/cancel`, '/jobs/{job}/cancel', post({}))).status).toBe(404);
    expect((await call('/jobs/x', '/jobs/{job}')).status).toBe(400);
  });
});

describe('bundles', () => {
  test('are listed with their cards, promoted and rolled back', async () => {
    const { id, ...manifest } = await openBundle(folder, 'untrained');
    const successor = await addBundle(folder, { ...manifest, title: 'Follows (UNTRAINED)' });
    const { body } = await call('/bundles', '/bundles');
    expect(body['bundles']).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ id, promoted: true }),
        expect.objectContaining({ id: successor.id, promoted: false }),
      ]),
    );
    const card = await call(`/bundles/${id}`, '/bundles/{bundle}');
    expect(card.body).toMatchObject({
      calibration: {
        scores: manifest.calibration!.scores,
        precision: 'float32',
        remark: expect.stringContaining(`is calibrated in float32 and scores in float16: `) as string,
      },
      heads: ['qfae'],
    });

    const promoted = await call(`/bundles/${successor.id}/promote`, '/bundles/{bundle}/promote', post({}));
    expect(promoted).toMatchObject({ status: 200, body: { id: successor.id, promoted: true } });
    const back = await call('/profiles/untrained/rollback', '/profiles/{profile}/rollback', post({}));
    expect(back).toMatchObject({ status: 200, body: { id, promoted: true } });
    expect(
      (await call('/profiles/untrained/rollback', '/profiles/{profile}/rollback', post({}))).status,
    ).toBe(409);
    expect((await call('/profiles', '/profiles')).body).toMatchObject({
      profiles: [{ name: 'untrained', promoted: id, history: [id] }],
    });
  });

  test('in shadow tell what they said of each study beside what the promoted one said', async () => {
    const { id } = await openBundle(folder, 'untrained');
    for (const [study, percentile] of [
      ['1.2', 30],
      ['1.9', 70],
    ] as const) {
      await database.query(
        `insert into shadow_score (scoring_id, bundle, score, scored_at)
         select id, $1, $2, finished_at from scoring where study_instance_uid = $3 and state = 'scored'`,
        [id, JSON.stringify(score(percentile)), study],
      );
    }
    const { body } = await call(`/bundles/${id}/shadow`, '/bundles/{bundle}/shadow');
    expect(body).toMatchObject({
      studies: [
        {
          studyInstanceUID: '1.9',
          candidate: { percentile: 70, flagged: false },
          promoted: { bundle: 'b@000000000000', score: { percentile: 90, flagged: true } },
        },
        { studyInstanceUID: '1.2', candidate: { percentile: 30 }, promoted: { score: { percentile: 20 } } },
      ],
    });
    const card = await call(`/bundles/${id}`, '/bundles/{bundle}');
    expect(card.body).toMatchObject({
      shadow: { active: false, studies: 2, flagged: 0, flaggedByPromoted: 1, agreed: 1 },
    });
  });

  test('that are not there, or do not score as recorded, are refused', async () => {
    expect((await call('/bundles/none', '/bundles/{bundle}')).status).toBe(404);
    expect((await call('/bundles/..%2f..', '/bundles/{bundle}')).status).toBe(400);
    const { id: _, ...manifest } = await openBundle(folder, 'untrained');
    const rawScore = manifest.reference.rawScore + 1;
    const moved = await addBundle(folder, { ...manifest, reference: { ...manifest.reference, rawScore } });
    const refused = await call(`/bundles/${moved.id}/promote`, '/bundles/{bundle}/promote', post({}));
    expect(refused).toMatchObject({ status: 409, body: { detail: expect.stringMatching(/reference/) } });
  });
});

describe('retrainings', () => {
  test('are listed, also behind many firings that were skipped since', async () => {
    const firing = (hour: number, skippedFor?: string) =>
      enterRetraining(database, {
        ...{ schedule: 'nightly', profile: 'untrained', dueAt: new Date(Date.UTC(2026, 0, 1, hour)) },
        skippedFor: skippedFor ?? null,
      });
    const { id } = (await firing(0))!;
    await updateRetraining(database, id, { state: 'done', outcome: 'candidate' });
    for (let hour = 1; hour <= 200; hour++) await firing(hour, 'a run of nightly is under way');
    const { body } = await call('/retrainings', '/retrainings');
    const listed = body['retrainings'] as { id: string; state: string; dueAt: string }[];
    expect(listed.at(-1)).toMatchObject({ id, state: 'done' });
    expect(listed[0]).toMatchObject({ state: 'skipped', dueAt: '2026-01-09T08:00:00.000Z' });
    expect(listed.map(({ dueAt }) => dueAt)).toEqual(
      listed
        .map(({ dueAt }) => dueAt)
        .sort()
        .reverse(),
    );
  });
});

describe('rules', () => {
  test('in force are told, and what they say of a study, without the name of the patient', async () => {
    const text = `rules:
  - name: CT only
    study: { ModalitiesInStudy: CT }
  - name: by name
    study: { PatientName: doe* }
    series: { Modality: MR }
    outputs: { seg: off }
    priority: 3
  - name: nowhere
    profile: nothing-promoted
`;
    await enforceRules(database, 'rules.yaml', text, { archives: ['pacs'], sources: ['pacs'] });
    const state = await call('/rules', '/rules');
    expect(state.body).toMatchObject({ problems: [], rules: [{ name: 'CT only' }, {}, {}] });
    const { body } = await call('/rules/test?archive=pacs&study=1.2.3', '/rules/test');
    expect(body).toMatchObject({
      version: state.body['version'],
      rule: 'by name',
      reason: null,
      plan: { outputs: { sc: 'flagged', seg: 'off' }, to: ['pacs'], priority: 3, series: ['1.2.3.1'] },
      outcomes: [
        {
          applies: false,
          study: [{ attribute: 'ModalitiesInStudy', wanted: 'CT', found: ['MR'], holds: false }],
        },
        { applies: true, study: [{ attribute: 'PatientName', found: null, holds: true }] },
        { applies: true },
      ],
    });
    expect(JSON.stringify(body)).not.toContain('Doe');
  });

  test('say why a study would not be scored', async () => {
    const text = 'rules: [{ name: nowhere, profile: nothing-promoted }]';
    await enforceRules(database, 'rules.yaml', text, { archives: ['pacs'], sources: ['pacs'] });
    const { body } = await call('/rules/test?archive=pacs&study=1.2.3', '/rules/test');
    expect(body).toMatchObject({
      rule: 'nowhere',
      plan: null,
      reason: 'rule "nowhere" names profile nothing-promoted, for which no bundle is promoted',
    });
  });

  test('cannot be asked of what is not there', async () => {
    expect((await call('/rules/test?archive=pacs&study=9.9', '/rules/test')).status).toBe(404);
    expect((await call('/rules/test?archive=other&study=1.2.3', '/rules/test')).status).toBe(404);
    pacs.away = true;
    expect((await call('/rules/test?archive=pacs&study=1.2.3', '/rules/test')).status).toBe(502);
  });
});

describe('events', () => {
  /** Reads events until `until` holds for one; fails after a while by the test's own time limit. */
  async function watch(
    until: (event: Event) => boolean,
    headers: Record<string, string> = {},
    begun?: () => Promise<void>,
  ) {
    const ended = new AbortController();
    const answer = await fetch(`${url}/events`, { headers, signal: ended.signal });
    expect(answer.headers.get('content-type')).toContain('text/event-stream');
    await begun?.();
    const seen: Event[] = [];
    let text = '';
    for await (const chunk of answer.body!.pipeThrough(new TextDecoderStream())) {
      text += chunk;
      const blocks = text.split('\n\n');
      text = blocks.pop()!;
      for (const block of blocks) {
        const fields = Object.fromEntries(
          block.split('\n').map((line) => line.split(/: (.*)/s).slice(0, 2) as [string, string]),
        ) as Record<string, string>;
        if (fields['event'] === undefined) continue;
        seen.push({ id: fields['id'], type: fields['event'], data: JSON.parse(fields['data']) as object });
      }
      if (seen.some(until)) break;
    }
    ended.abort();
    return seen;
  }
  interface Event {
    id: string;
    type: string;
    data: object;
  }
  const state = (study: string, value: string) =>
    database
      .query('update scoring set state = $2 where study_instance_uid = $1 and state <> $2', [study, value])
      .then(() => undefined);
  const marker = ({ type }: Event) => type === 'marker';
  const mark = () => enterEvent(database, 'marker', {});

  test('tell what changes, in order, from the moment of watching', async () => {
    await state('1.11', 'running');
    const seen = await watch(marker, {}, async () => {
      await state('1.11', 'queued');
      await database.query("update scoring set score = score where study_instance_uid = '1.11'");
      await fetch(`${url}/studies/local/1.9/feedback`, post({ label: 'artefact', reader: 'A' }));
      await mark();
    });
    expect(seen.map(({ type, data }) => ({ type, data }))).toEqual([
      {
        type: 'study',
        data: expect.objectContaining({
          archive: 'local',
          studyInstanceUID: '1.11',
          status: 'queued',
          step: null,
        }),
      },
      { type: 'feedback', data: { archive: 'local', studyInstanceUID: '1.9', label: 'artefact' } },
      { type: 'marker', data: {} },
    ]);
  });

  test('go on behind the last one seen, also what happened meanwhile', async () => {
    const [first] = await watch(marker, {}, async () => {
      await state('1.11', 'running');
      await mark();
    });
    await state('1.11', 'queued');
    await mark();
    const seen = await watch(({ data }) => JSON.stringify(data).includes('queued'), {
      'last-event-id': first.id,
    });
    expect(seen.map(({ type }) => type).slice(0, 2)).toEqual(['marker', 'study']);
  });

  test('that were forgotten are told as a reset', async () => {
    const [last] = await watch(marker, {}, mark);
    await forgetEvents(database, new Date(Date.now() + 1000));
    const seen = await watch(({ type }) => type === 'reset', { 'last-event-id': last.id });
    expect(seen[0]).toMatchObject({ type: 'reset', id: last.id });
  });
});

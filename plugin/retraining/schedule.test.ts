import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { writeCRImage } from '../../fixtures/dicom-series.ts';
import { startNodeProcess, type NodeProcess } from '../../fixtures/node-process.ts';
import { startOrthanc, type Orthanc } from '../../fixtures/orthanc.ts';
import { describeWith } from '../../fixtures/required-program.ts';
import { stow } from '../../fixtures/stow.ts';
import { OrthancArchive } from '../archive/orthanc.ts';
import { settingsSchema } from '../settings.ts';
import { nextFiring } from './cron.ts';

/** More than the gate of the test needs: 16 patients, 4 to calibrate, 4 to evaluate, 8 to train. */
const PATIENTS = 16;

test('a schedule fires when its fields say, in its time zone, over a change of the clock', () => {
  const after = (text: string) => new Date(text);
  const weekly = { cron: '30 2 * * 0', timezone: 'UTC' };
  expect(nextFiring(weekly, after('2026-01-01T00:00:00Z'))).toEqual(after('2026-01-04T02:30:00Z'));
  expect(nextFiring(weekly, after('2026-01-04T02:30:00Z'))).toEqual(after('2026-01-11T02:30:00Z'));
  const berlin = { cron: '0 4 * * *', timezone: 'Europe/Berlin' };
  expect(nextFiring(berlin, after('2026-03-28T04:00:00Z'))).toEqual(after('2026-03-29T02:00:00Z'));
});

interface Retraining {
  id: string;
  dueAt: string;
  state: string;
  attempt: number;
  reason: string | null;
  bundle: string | null;
  outcome: string | null;
}

describeWith(['Orthanc'], 'a node with a schedule beside a real Orthanc', () => {
  let folder: string;
  let orthanc: Orthanc;
  let node: NodeProcess | undefined;
  const environment = () => ({
    QFAE_CONFIG: join(folder, 'qfae.yaml'),
    QFAE_DATA: join(folder, 'data'),
    QFAE_ORTHANC_URL: orthanc.url,
    QFAE_INFERENCE_PROVIDER: 'cpu',
  });

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'qfae-schedule-'));
    writeFileSync(
      join(folder, 'qfae.yaml'),
      `retraining:
         retrySeconds: 5
         schedules:
           chest:
             profile: untrained
             cron: '*/2 * * * * *'
             newStudies: 10
             normal: { query: 'ModalitiesInStudy=CR' }
             epochs: 6
             batchSize: 4
             microBatch: 4
             rate: 0.001
             alpha: 0.25
             threads: 1
             checkpointEvery: 1
             gate: { falsePositives: 0.75, auroc: 0.9 }
           nothing:
             profile: untrained
             cron: '0 0 1 1 *'
             normal: { query: 'ModalitiesInStudy=XX' }
      `,
    );
    // The same split each time: with one salt in some tens, the gate stops what should pass.
    mkdirSync(join(folder, 'data'));
    writeFileSync(join(folder, 'data', 'study-salt'), '5'.repeat(64));
    orthanc = await startOrthanc();
    for (let i = 0; i < PATIENTS; i++) {
      const { bytes } = await writeCRImage(join(folder, `${i}`), { name: `Chest ${i}`, seed: i });
      const answer = await stow(orthanc.dicomWebUrl, [bytes]);
      expect(answer.status).toBe(200);
      await answer.arrayBuffer();
    }
  }, 300_000);
  afterAll(async () => {
    await node?.stop();
    await orthanc.stop();
    rmSync(folder, { recursive: true, force: true });
  }, 300_000);

  const api = async <T>(path: string, method = 'GET') =>
    (await (await fetch(`${node!.url}/api/v1${path}`, { method })).json()) as T;
  const retrainings = async () => (await api<{ retrainings: Retraining[] }>('/retrainings')).retrainings;
  const until = async (holds: () => Promise<boolean> | boolean) => {
    const deadline = Date.now() + 600_000;
    while (!(await holds())) {
      await sleep(200);
      if (Date.now() > deadline) throw new Error(`waited in vain\n${JSON.stringify(node?.log().slice(-20))}`);
    }
  };

  test('studies are found by their metadata; an Orthanc without labels says so', async () => {
    const archive = new OrthancArchive(settingsSchema.parse({ orthanc: { url: orthanc.url } }).orthanc!);
    try {
      const [study] = (await (await fetch(`${orthanc.url}/studies?expand&limit=1&since=0`)).json()) as {
        ID: string;
        MainDicomTags: { StudyInstanceUID: string };
      }[];
      const metadata = `${orthanc.url}/studies/${study.ID}/metadata/1024`;
      expect((await fetch(metadata, { method: 'PUT', body: 'normal' })).status).toBe(200);
      expect(await archive.withMetadata('1024', 'normal')).toEqual([study.MainDicomTags.StudyInstanceUID]);
      expect(await archive.withMetadata('1024', 'abnormal')).toEqual([]);
      const { Version } = (await (await fetch(`${orthanc.url}/system`)).json()) as { Version: string };
      if (/^1\.([0-9]|10|11)\./.test(Version)) {
        await expect(archive.labelled('normal')).rejects.toThrow('they came with version 1.12');
      }
    } finally {
      await archive.close();
    }
  });

  test('a firing trains, a node that is killed goes on with it, and what passes the gate is promoted', async () => {
    node = await startNodeProcess(environment());
    const run = join(folder, 'data', 'runs', 'retrain-untrained-1');
    const steps = () => {
      try {
        return readFileSync(join(run, 'training', 'log.jsonl'), 'utf8').split('"step":').length - 1;
      } catch {
        return 0;
      }
    };
    // While it trains it fires again.
    await until(async () => (await retrainings()).some(({ state }) => state === 'skipped') && steps() > 1);
    const skipped = (await retrainings()).find(({ state }) => state === 'skipped')!;
    expect(skipped.reason).toBe('a run of chest is under way');
    const [running] = (await retrainings()).filter(({ state }) => state === 'running');
    await node.stop('SIGKILL');

    node = await startNodeProcess(environment());
    await until(async () => (await retrainings()).some(({ state }) => state === 'done'));
    const done = (await retrainings()).find(({ state }) => state === 'done')!;
    expect(done).toMatchObject({ id: running.id, outcome: 'promoted', reason: null, attempt: 1 });
    // Each step once: what was done before was not done again.
    const records = readFileSync(join(run, 'training', 'log.jsonl'), 'utf8').match(/"step","step":\d+/g)!;
    expect(new Set(records).size).toBe(records.length);

    const card = await api<{ promoted: boolean; retraining: { data: object; gate: object[] } }>(
      `/bundles/${done.bundle!}`,
    );
    expect(card).toMatchObject({
      promoted: true,
      retraining: {
        data: {
          training: { patients: 8, studies: 8, slices: 8 },
          calibration: { patients: 4 },
          evaluation: { patients: 4 },
          leftOut: 0,
        },
        evaluatedBy: 'synthetic anomalies',
        outcome: 'promoted',
      },
    });
    expect(card.retraining.gate).toHaveLength(5);
    expect(card.retraining.gate).toContainEqual(
      expect.objectContaining({
        finding: expect.stringContaining('the promoted bundle is untrained') as string,
      }),
    );
    expect(JSON.stringify(card)).not.toMatch(/2\.25\.\d{10}|QFAE-CHEST/);
    const manifest = readFileSync(join(run, 'studies.jsonl'), 'utf8').trim().split('\n');
    expect(manifest).toHaveLength(PATIENTS);
    expect(JSON.parse(manifest[0])).toMatchObject({
      part: 'normal',
      archive: 'orthanc',
      why: ['matches ModalitiesInStudy=CR'],
      geometry: { modality: 'CR' },
    });
    const log = JSON.stringify(node.log());
    expect(log).not.toMatch(/QFAE-CHEST|Sample/);

    // Nothing new has come since.
    const few = 'too few new normal studies: 0 of 16; 10 are wanted';
    await until(async () => (await retrainings()).some(({ reason }) => reason === few));
    await until(() =>
      node!.log().some(({ msg, reason }) => msg === 'retraining is skipped' && reason === few),
    );
  }, 1_500_000);

  test('a schedule that is paused does not fire; a run that fails is tried once again and reported', async () => {
    await api('/schedules/chest/pause', 'POST');
    const { schedules } = await api<{ schedules: { name: string; paused: boolean; next: string | null }[] }>(
      '/schedules',
    );
    expect(schedules).toMatchObject([
      { name: 'chest', paused: true, next: null },
      { name: 'nothing', paused: false },
    ]);
    const pausedAt = Date.now(); // a firing before may still be entered
    await api('/schedules/nothing/run', 'POST');
    await until(async () => (await retrainings()).some(({ state }) => state === 'failed'));
    const failed = (await retrainings()).find(({ state }) => state === 'failed')!;
    expect(failed).toMatchObject({
      attempt: 2,
      reason: expect.stringContaining('too few studies') as string,
    });
    await until(() => node!.log().some(({ msg, level }) => msg === 'retraining failed' && level === 50));
    const told = node!.log().filter(({ msg }) => (msg as string).startsWith('retraining failed'));
    expect(told).toMatchObject([
      { msg: 'retraining failed and is tried once again', level: 40 },
      { msg: 'retraining failed', level: 50 },
    ]);
    const [first, second] = told.map(({ time }) => new Date(time as string).getTime());
    expect(second - first).toBeGreaterThan(4000);
    expect((await retrainings()).filter(({ dueAt }) => Date.parse(dueAt) > pausedAt)).toHaveLength(1);
    expect((await fetch(`${node!.url}/api/v1/schedules/other/run`, { method: 'POST' })).status).toBe(404);
  }, 900_000);
});

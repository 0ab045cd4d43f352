import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeCRImage } from '../../fixtures/dicom-series.ts';
import { startOrthanc } from '../../fixtures/orthanc.ts';
import { describeWith } from '../../fixtures/required-program.ts';
import { until } from '../../fixtures/until.ts';
import { DicomWebArchive } from '../archive/dicomweb-archive.ts';
import { openEmbeddedDatabase, type Database } from '../database/database.ts';
import { createLog } from '../log.ts';
import { arrivals } from './arrivals.ts';
import { watchArchive } from './watch.ts';

let folder: string;
let database: Database;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'qfae-watch-'));
  database = await openEmbeddedDatabase(join(folder, 'database'));
});

afterAll(async () => {
  await database.close();
  rmSync(folder, { recursive: true });
});

const archiveAt = (name: string, url: string) =>
  new DicomWebArchive({ name, url, headers: {}, timeoutMs: 30_000 });

const daysAgo = (days: number) =>
  new Date(Date.now() - days * 24 * 3600 * 1000).toISOString().slice(0, 10).replaceAll('-', '');

/** How many instances arrived of which study. */
async function arrivedFrom(archive: string): Promise<Record<string, number>> {
  const all = (await arrivals(database)).filter((each) => each.archive === archive);
  return Object.fromEntries(all.map(({ studyInstanceUID, instances }) => [studyInstanceUID, instances]));
}

/** Watches until `done`; returns what arrived meanwhile. */
async function watching(
  archive: DicomWebArchive,
  done: (arrived: Record<string, number>) => boolean | Promise<boolean>,
  since?: Date,
): Promise<Record<string, number>> {
  const stop = new AbortController();
  const options = { pollSeconds: 0.1, watchDays: 2, since };
  const watch = watchArchive(archive, database, createLog('silent'), options, stop.signal);
  try {
    await until('what is to arrive', async () => done(await arrivedFrom(archive.name)));
    return await arrivedFrom(archive.name); // all that is there now: perhaps more than when it was asked
  } finally {
    stop.abort();
    await watch;
  }
}

const looked = async (archive: string) => {
  const [feed] = await database.query<{ position: string | null }>(
    'select position from feed where archive = $1',
    [archive],
  );
  return feed !== undefined && feed.position !== null;
};

/** A server of studies, each `{ uid, date, instances }`, that answers QIDO-RS as well or badly as told. */
async function studyServer(manners: { pages: boolean; dates: boolean; most?: number }) {
  const studies: { uid: string; date: string; instances: number; broken?: boolean }[] = [];
  const asked: URL[] = [];
  const server = createServer((request, response) => {
    const url = new URL(request.url!, 'http://localhost');
    asked.push(url);
    const study = /studies\/([\d.]+)\/instances/.exec(url.pathname)?.[1];
    const date = url.searchParams.get('StudyDate');
    const limit = Math.min(Number(url.searchParams.get('limit')), manners.most ?? Infinity);
    const offset = Number(url.searchParams.get('offset'));
    const pageOf = <T>(all: T[]) => (manners.pages ? all.slice(offset, offset + limit) : all);
    const page = pageOf(studies.filter((each) => !manners.dates || each.date === date));
    const value = (vr: string, content: string | number) => ({ vr, Value: [content] });
    const answer =
      study === undefined
        ? page.map((each) => ({
            '0020000D': value('UI', each.uid),
            '00080020': value('DA', each.date),
            '00080030': value('TM', '000000'),
            '00201208': value('IS', each.instances),
          }))
        : pageOf(
            Array.from({ length: studies.find(({ uid }) => uid === study)!.instances }, (_, index) => ({
              '00080016': value('UI', '1.2.840.10008.5.1.4.1.1.4'),
              '00080018': value('UI', `${study}.${index + 1}`),
              '0020000E': value('UI', `${study}.0`),
            })),
          );
    if (studies.some(({ uid, broken }) => uid === study && broken)) response.statusCode = 500;
    response.setHeader('content-type', 'application/dicom+json');
    response.end(JSON.stringify(answer));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    studies,
    asked,
    stop: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}

test('what is there at the first look is left alone; what is new or grows arrives; our own results do not', async () => {
  const server = await studyServer({ pages: true, dates: true });
  const archive = archiveAt('pages', server.url);
  for (let i = 1; i <= 450; i++) server.studies.push({ uid: `1.2.${i}`, date: daysAgo(1), instances: 3 });
  expect(await watching(archive, () => looked('pages'))).toEqual({});
  const [{ count }] = await database.query<{ count: number }>(
    "select count(*)::integer as count from watched_study where archive = 'pages'",
  );
  expect(count).toBe(450);
  expect(server.asked.every((url) => /StudyDate=\d{8}&/.test(url.search))).toBe(true);
  expect(server.asked.every((url) => url.searchParams.get('limit') === '200')).toBe(true);

  server.studies.push({ uid: '1.3.1', date: daysAgo(0), instances: 7 });
  server.studies[9].instances = 5;
  server.studies[20].instances = 4;
  await database.query(
    `insert into result_object (archive, sop_instance_uid, series_instance_uid, study_instance_uid,
       sop_class_uid, scoring_id, position)
     values ('pages', '1.2.21.4', '1.2.21.0', '1.2.21', '1.2.3', gen_random_uuid(), 0)`,
  );
  const arrived = { '1.3.1': 7, '1.2.10': 2 };
  await watching(archive, (seen) => Object.keys(seen).length >= 2);
  const asked = server.asked.length;
  expect(await watching(archive, () => server.asked.length > asked + 20)).toEqual(arrived);
  await archive.close();
  server.stop();
});

test('with `since`, younger studies are due at the first look; a server that pages badly does no harm', async () => {
  const server = await studyServer({ pages: false, dates: false });
  const archive = archiveAt('bad', server.url);
  for (let i = 1; i <= 300; i++) server.studies.push({ uid: `1.4.${i}`, date: '20010101', instances: 1 });
  server.studies.push({ uid: '1.5.1', date: daysAgo(5), instances: 2 });
  server.studies.push({ uid: '1.5.2', date: daysAgo(9), instances: 2 });
  const since = new Date(Date.now() - 7 * 24 * 3600 * 1000);
  expect(await watching(archive, () => looked('bad'), since)).toEqual({ '1.5.1': 2 });
  await archive.close();
  server.stop();
});

test('a server may give less than it was asked for, and fail for one study: the rest is seen', async () => {
  const server = await studyServer({ pages: true, dates: true, most: 3 });
  const archive = archiveAt('short', server.url);
  expect(await watching(archive, () => looked('short'))).toEqual({});
  server.studies.push({ uid: '1.6.1', date: daysAgo(1), instances: 5, broken: true });
  for (let i = 2; i <= 8; i++) server.studies.push({ uid: `1.6.${i}`, date: daysAgo(0), instances: i });
  const rest = Object.fromEntries(server.studies.slice(1).map(({ uid, instances }) => [uid, instances]));
  expect(await watching(archive, (seen) => Object.keys(seen).length === 7)).toEqual(rest);
  server.studies[0].broken = false;
  expect(await watching(archive, (seen) => '1.6.1' in seen)).toEqual({ ...rest, '1.6.1': 5 });
  await archive.close();
  server.stop();
});

test('an archive that is away is not taken for an empty one', async () => {
  const server = await studyServer({ pages: true, dates: true });
  const { url } = server;
  server.stop();
  const archive = archiveAt('away', url);
  const started = Date.now();
  await watching(archive, () => Date.now() > started + 500);
  expect(await looked('away')).toBe(false);
  await archive.close();
});

describeWith(['Orthanc', 'storescu'], 'the DICOMweb of a real archive', () => {
  test('shows studies that arrive', async () => {
    const orthanc = await startOrthanc();
    const archive = archiveAt('real', orthanc.dicomWebUrl);
    const send = async (name: string, date: string, seriesNumber = 1) => {
      const image = await writeCRImage(join(folder, `${name}${seriesNumber}`), {
        name,
        seriesNumber,
        attributes: { StudyDate: date, StudyTime: '000000' },
      });
      const args = ['-aec', orthanc.aeTitle, '127.0.0.1', String(orthanc.dicomPort), image.path];
      expect(spawnSync('storescu', args).status).toBe(0);
      return image.studyInstanceUID;
    };
    try {
      const old = await send('WatchOld', daysAgo(0));
      expect(await watching(archive, () => looked('real'))).toEqual({});
      const fresh = await send('WatchNew', daysAgo(0));
      await send('WatchOld', daysAgo(0), 2);
      expect(await watching(archive, (arrived) => Object.keys(arrived).length === 2)).toEqual({
        [old]: 1,
        [fresh]: 1,
      });
    } finally {
      await archive.close();
      await orthanc.stop();
    }
  });
});

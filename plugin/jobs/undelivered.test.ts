import { mkdirSync, mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeCTSeries } from '../../fixtures/dicom-series.ts';
import { freePort } from '../../fixtures/free-port.ts';
import { startNodeProcess, type NodeProcess } from '../../fixtures/node-process.ts';
import { stow } from '../../fixtures/stow.ts';
import { scoredStudy, worklistEntry } from '../../fixtures/worklist.ts';
import { openEmbeddedDatabase } from '../database/database.ts';
import { scoreStudyJob, type ScoreStudyContext } from './score-study.ts';

/** How often a node fetched a study and chose of it what it scores. */
const chosenIn = (node: NodeProcess) => node.log().filter(({ msg }) => msg === 'series is chosen').length;

test('a result waits for an archive that is away, also beyond the end of the process, and the study is not scored again', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'qfae-undelivered-'));
  const quiet = { QFAE_ARRIVAL_QUIET_SECONDS: '1' };
  const away = { ...quiet, QFAE_DATA: join(folder, 'away'), QFAE_HTTP_PORT: String(await freePort()) };
  let archive = await startNodeProcess(away);
  await archive.stop();
  const data = join(folder, 'data');
  mkdirSync(data);
  writeFileSync(
    join(data, 'rules.yaml'),
    'rules:\n  - name: all\n    study: { ModalitiesInStudy: CT }\n    to: [local, away]\n',
  );
  const environment = {
    ...quiet,
    QFAE_DATA: data,
    QFAE_ARCHIVES: JSON.stringify({ away: { type: 'dicomweb', url: archive.dicomWebUrl } }),
  };
  let node = await startNodeProcess(environment);
  try {
    // The series with more slices is scored: the one that comes last.
    const write = (seriesNumber: number, slices: number) =>
      writeCTSeries(join(folder, `${seriesNumber} ${slices}`), {
        ...{ name: 'Waits', seriesNumber, slices, rows: 64, columns: 64 },
      });
    const uidOf = async (number: number) => (await write(number, 1))[0].seriesInstanceUID;
    const [first, last] = (await uidOf(1)) < (await uidOf(2)) ? [1, 2] : [2, 1];
    const series = [...(await write(first, 2)), ...(await write(last, 4))];
    const study = series[0].studyInstanceUID;
    const sent = await stow(
      node.dicomWebUrl,
      series.map(({ bytes }) => bytes),
    );
    expect(sent.status).toBe(200);
    const failed = () => node.log().filter(({ msg }) => msg === 'scoring failed and will be tried again');
    while (failed().length < 2) await new Promise((resolve) => setTimeout(resolve, 200));
    expect(await worklistEntry(node.url, study)).toMatchObject({ status: 'queued', step: 'store' });

    const chosen = chosenIn(node);
    await node.stop('SIGKILL');
    node = await startNodeProcess(environment);
    archive = await startNodeProcess(away);
    const { results, subject } = await scoredStudy(node.url, study, ({ status }) => status === 'scored', 240);
    expect(subject?.seriesInstanceUID).toBe(series.at(-1)!.seriesInstanceUID);
    expect(chosen + chosenIn(node)).toBe(1);
    const found = await fetch(`${archive.dicomWebUrl}/studies/${study}/instances`);
    expect(await found.json()).toHaveLength(results.length);
    await node.stop(); // a job removes its folders after the study is scored
    for (const name of ['work', 'undelivered']) expect(readdirSync(join(data, name))).toEqual([]);
  } finally {
    await node.stop();
    await archive.stop();
    rmSync(folder, { recursive: true });
  }
}, 600_000);

test('what nobody waits for, and the oldest of too much, is removed at the start and before each job', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'qfae-undelivered-'));
  const database = await openEmbeddedDatabase(join(folder, 'database'));
  try {
    const undelivered = join(folder, 'undelivered');
    const made = async (state: string, count: number) => {
      const rows = await database.query<{ id: string }>(
        `insert into scoring (archive, study_instance_uid, requested_at, state)
         select 'local', n::text, now(), $1 from generate_series(1, $2::int) n returning id`,
        [state, count],
      );
      for (const { id } of rows) {
        mkdirSync(join(undelivered, id), { recursive: true });
        writeFileSync(join(undelivered, id, 'result.json'), '{}');
      }
      return rows.map(({ id }) => id).sort();
    };
    const [queued] = await made('queued', 1);
    await made('cancelled', 1);
    mkdirSync(join(undelivered, 'of another database'));
    const context = { database, undelivered, worker: 'test' } as ScoreStudyContext;
    const job = await scoreStudyJob(context);
    expect(readdirSync(undelivered)).toEqual([queued]);

    await database.query("update scoring set state = 'cancelled' where id = $1", [queued]);
    const [oldest] = await made('running', 1);
    utimesSync(join(undelivered, oldest), 1, 1);
    const others = await made('queued', 32);
    await job(queued, { last: false, signal: new AbortController().signal });
    expect(readdirSync(undelivered).sort()).toEqual(others);
  } finally {
    await database.close();
    rmSync(folder, { recursive: true });
  }
}, 300_000);

import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { DicomJson } from '../../dicom/dicom-json.ts';
import { brainStudy } from '../../fixtures/brain-study.ts';
import { writeCTSeries, writeMRSeries } from '../../fixtures/dicom-series.ts';
import { startNodeProcess, type NodeProcess } from '../../fixtures/node-process.ts';
import { startOrthanc, type Orthanc } from '../../fixtures/orthanc.ts';
import { describeWith } from '../../fixtures/required-program.ts';
import { until } from '../../fixtures/until.ts';
import { scoredStudy } from '../../fixtures/worklist.ts';

const secondaryCapture = '1.2.840.10008.5.1.4.1.1.7';
const comprehensive3D = '1.2.840.10008.5.1.4.1.1.88.34';

describeWith(['Orthanc', 'storescu'], 'a node beside a real Orthanc', () => {
  let folder: string;
  let orthanc: Orthanc;
  let node: NodeProcess;
  const running: { stop(): Promise<void> }[] = [];

  const send = (directory: string) => {
    const { dicomPort, aeTitle } = orthanc;
    const { status, stderr } = spawnSync(
      'storescu',
      ['+sd', '-aec', aeTitle, '127.0.0.1', String(dicomPort), directory],
      { encoding: 'utf8' },
    );
    expect([status, stderr]).toEqual([0, '']);
  };
  const startNode = async (data: string) => {
    const started = await startNodeProcess({
      QFAE_DATA: data,
      QFAE_ARRIVAL_QUIET_SECONDS: '3', // longer than any pause between two objects of storescu
      QFAE_ORTHANC_URL: orthanc.url,
      QFAE_ORTHANC_POLL_SECONDS: '0.5',
    });
    running.push(started);
    return started;
  };
  const instances = async (study: string) =>
    (await (await fetch(`${orthanc.dicomWebUrl}/studies/${study}/instances`)).json()) as DicomJson[];
  const sopClasses = async (study: string) =>
    (await instances(study)).map((instance) => instance['00080016'].Value![0]);
  const sopInstances = async (study: string) =>
    (await instances(study)).map((instance) => instance['00080018'].Value![0] as string).sort();

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'qfae-orthanc-test-'));
    orthanc = await startOrthanc({ folder: join(folder, 'one') });
    running.push(orthanc);
    await writeMRSeries(join(folder, 'old'), brainStudy({ seed: 3, slices: 3 }), { name: 'Old' });
    send(join(folder, 'old'));
    node = await startNode(join(folder, 'data'));
  }, 300_000);

  afterAll(async () => {
    for (const each of running.reverse()) await each.stop();
    rmSync(folder, { recursive: true });
  }, 300_000);

  test('scores a study that storescu sends, once, and leaves older studies alone', async () => {
    const series = await writeMRSeries(join(folder, 'new'), brainStudy({ seed: 4, slices: 5 }), {
      name: 'New',
    });
    const study = series[0].studyInstanceUID;
    send(join(folder, 'new'));
    const { status, results } = await scoredStudy(node.url, study, undefined, 240);
    expect(status).toBe('scored');

    const stored = await sopClasses(study);
    expect(stored).toHaveLength(5 + results.length);
    expect(stored.filter((uid) => uid === comprehensive3D)).toHaveLength(1);
    const pictures = results.filter(({ sopClassUID }) => sopClassUID === secondaryCapture);
    expect(pictures.length).toBeGreaterThan(0);
    expect(stored.filter((uid) => uid === secondaryCapture)).toHaveLength(pictures.length);
    // As the worklist asks for it, and Chromium for pictures.
    const thumbnail = await fetch(`${node.url}${pictures[0].url}/rendered?viewport=128,128`, {
      headers: { accept: 'image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8' },
    });
    expect([thumbnail.status, thumbnail.headers.get('content-type')]).toEqual([
      200,
      expect.stringMatching(/^image\/(png|jpeg)$/),
    ]);

    // That our own results arrived makes no new job.
    await sleep(5000);
    expect(node.log().filter(({ msg }) => /waits to be scored/.test(String(msg)))).toHaveLength(1);
    expect(await sopClasses(study)).toHaveLength(stored.length);
    const { studies } = (await (await fetch(`${node.url}/api/v1/studies`)).json()) as { studies: unknown[] };
    expect(studies).toHaveLength(1);
  }, 300_000);

  test('scores what came while the node was away', async () => {
    await node.stop('SIGKILL');
    const series = await writeMRSeries(join(folder, 'missed'), brainStudy({ seed: 5, slices: 3 }), {
      name: 'Missed',
    });
    send(join(folder, 'missed'));
    node = await startNode(join(folder, 'data'));
    const { status } = await scoredStudy(node.url, series[0].studyInstanceUID, undefined, 240);
    expect(status).toBe('scored');
    expect(await sopClasses(series[0].studyInstanceUID)).toContain(comprehensive3D);
  }, 300_000);

  test('replaces the result when more of the study comes', async () => {
    const study = (
      await writeMRSeries(join(folder, 'first'), brainStudy({ seed: 6, slices: 3 }), { name: 'Grows' })
    )[0].studyInstanceUID;
    send(join(folder, 'first'));
    const before = await scoredStudy(node.url, study, undefined, 240);
    await writeMRSeries(join(folder, 'more'), brainStudy({ seed: 6, slices: 4 }), { name: 'Grows' });
    send(join(folder, 'more'));
    const after = await scoredStudy(
      node.url,
      study,
      ({ requestedAt }) => requestedAt !== before.requestedAt,
      240,
    );
    const stored = await sopClasses(study);
    expect(stored).toHaveLength(4 + after.results.length);
    expect(stored.filter((uid) => uid === comprehensive3D)).toHaveLength(1);
  }, 300_000);

  test('writes the result of a study again that was deleted and came back', async () => {
    const series = await writeMRSeries(join(folder, 'back'), brainStudy({ seed: 7, slices: 3 }), {
      name: 'Back',
    });
    const study = series[0].studyInstanceUID;
    send(join(folder, 'back'));
    await scoredStudy(node.url, study, undefined, 240);
    const before = await sopInstances(study);

    const found = await fetch(`${orthanc.url}/tools/lookup`, { method: 'POST', body: study });
    const [{ Path }] = (await found.json()) as { Path: string }[];
    await fetch(`${orthanc.url}${Path}`, { method: 'DELETE' });
    await sleep(1500); // the newest change is gone: the feed must not be taken for that of a new archive
    send(join(folder, 'back'));
    await until('the results are back', async () => (await sopInstances(study)).length >= before.length);
    expect(await sopInstances(study)).toEqual(before);
    expect(node.log().filter(({ msg }) => /starts over/.test(String(msg)))).toEqual([]);
  }, 300_000);

  test('notices that another archive is in its place, writes the results again, and scores what is new', async () => {
    const known = await writeMRSeries(join(folder, 'known'), brainStudy({ seed: 8, slices: 3 }), {
      name: 'Known',
    });
    const study = known[0].studyInstanceUID;
    send(join(folder, 'known'));
    const before = (await scoredStudy(node.url, study, undefined, 240)).results.map(
      ({ sopInstanceUID }) => sopInstanceUID,
    );
    const changes = async () =>
      ((await (await fetch(`${orthanc.url}/changes?last`)).json()) as { Last: number }).Last;
    await sleep(1500); // all of it is read
    const last = await changes();
    const { httpPort, dicomPort } = orthanc;
    await orthanc.stop();
    const another = join(folder, 'another');
    // The new one is ahead when it is first seen: its numbers alone tell nothing.
    orthanc = await startOrthanc({ folder: another });
    const fresh = await writeMRSeries(join(folder, 'fresh'), brainStudy({ seed: 9, slices: 4 }), {
      name: 'Fresh',
    });
    await writeCTSeries(join(folder, 'many'), {
      name: 'Many',
      slices: last,
      rows: 16,
      columns: 16,
      attributes: { ImageType: ['ORIGINAL', 'PRIMARY', 'LOCALIZER'] }, // not scored
    });
    for (const directory of ['many', 'known', 'fresh']) send(join(folder, directory));
    expect(await changes()).toBeGreaterThan(last);
    await orthanc.stop();
    orthanc = await startOrthanc({ folder: another, httpPort, dicomPort });
    running.push(orthanc);

    const scored = await scoredStudy(node.url, fresh[0].studyInstanceUID, undefined, 240);
    expect(scored.status).toBe('scored');
    await scoredStudy(node.url, study, ({ status }) => status === 'scored', 240);
    const source = known.map(({ sopInstanceUID }) => sopInstanceUID);
    const all = source.length + before.length;
    await until('the results are there', async () => (await sopInstances(study)).length >= all);
    expect(await sopInstances(study)).toEqual([...source, ...before].sort());
    expect(node.log().filter(({ msg }) => /starts over/.test(String(msg)))).toHaveLength(1);
  }, 600_000);
});

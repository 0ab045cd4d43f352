import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { brainStudy } from '../../fixtures/brain-study.ts';
import { writeMRSeries } from '../../fixtures/dicom-series.ts';
import { startNodeProcess } from '../../fixtures/node-process.ts';
import { stow } from '../../fixtures/stow.ts';
import { scoredStudy, worklistEntry } from '../../fixtures/worklist.ts';

const qfae = new URL('../cli/qfae.ts', import.meta.url).pathname;
const comprehensive3D = '1.2.840.10008.5.1.4.1.1.88.34';

test('an index that was lost comes back; a late instance replaces the result that was found', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'qfae-reindex-'));
  const data = join(folder, 'data');
  const environment = { QFAE_DATA: data, QFAE_ARRIVAL_QUIET_SECONDS: '1' };
  const reindex = () =>
    promisify(execFile)(process.execPath, [qfae, 'reindex', '--json'], {
      env: { PATH: process.env['PATH'], QFAE_DATA: data },
      cwd: folder,
    });
  const series = await writeMRSeries(join(folder, 'mr'), brainStudy({ seed: 1, slices: 4 }), {
    name: 'Lost',
  });
  const study = series[0].studyInstanceUID;
  const first = await startNodeProcess(environment);
  const found = async (url: string) =>
    (await fetch(`${url}/dicom-web/studies/${study}/instances?includefield=StudyDate`)).json();
  await stow(
    first.dicomWebUrl,
    series.slice(0, 3).map(({ bytes }) => bytes),
  );
  const before = await scoredStudy(first.url, study);
  const instances = JSON.stringify(await found(first.url)).replaceAll(first.url, '');
  await expect(reindex()).rejects.toThrow(/another process has this folder open/);
  await first.stop();

  rmSync(join(data, 'database'), { recursive: true });
  writeFileSync(join(data, 'instances', study, 'garbage.dcm'), 'no DICOM object');
  const lines = (await reindex()).stdout.trim().split('\n');
  expect(lines.map((line) => JSON.parse(line) as unknown)).toEqual([
    { type: 'broken', file: `${study}/garbage.dcm`, reason: expect.any(String) as string },
    { type: 'reindex', added: 3 + before.results.length, known: 0, results: 1, broken: 1 },
  ]);
  expect(existsSync(join(data, 'broken', study, 'garbage.dcm'))).toBe(true);
  expect(JSON.parse((await reindex()).stdout)).toMatchObject({ added: 0, results: 0, broken: 0 });

  const second = await startNodeProcess(environment);
  try {
    expect(JSON.stringify(await found(second.url)).replaceAll(second.url, '')).toBe(instances);
    const { bundle, score, results } = (await worklistEntry(second.url, study))!;
    expect([bundle, results.length]).toEqual([before.bundle, before.results.length]);
    expect(score!.rawScore).toBeCloseTo(before.score!.rawScore, 5);
    await stow(second.dicomWebUrl, [series[3].bytes]);
    const isNew = ({ results: [{ sopInstanceUID }] }: typeof before) =>
      !before.results.some((old) => old.sopInstanceUID === sopInstanceUID);
    await scoredStudy(second.url, study, isNew, 120);
    const query = `${second.dicomWebUrl}/studies/${study}/instances?SOPClassUID=${comprehensive3D}`;
    expect(await (await fetch(query)).json()).toHaveLength(1);
  } finally {
    await second.stop();
    rmSync(folder, { recursive: true });
  }
}, 300_000);

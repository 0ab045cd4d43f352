import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { rejectionNote } from '../../dicom/ko/key-object-selection.ts';
import { DicomPool } from '../../dicom/pool.ts';
import type { ScoreValues } from '../../dicom/result.ts';
import { brainStudy } from '../../fixtures/brain-study.ts';
import { writeMRSeries } from '../../fixtures/dicom-series.ts';
import { startNodeProcess } from '../../fixtures/node-process.ts';
import { stow } from '../../fixtures/stow.ts';
import { scoredStudy, worklistEntry } from '../../fixtures/worklist.ts';
import { openBundle } from '../../inference/bundle/registry.ts';
import type { InstanceReference } from '../archive/archive.ts';
import { resultContext } from '../scoring/algorithm.ts';
import { settingsSchema } from '../settings.ts';

const qfae = new URL('../cli/qfae.ts', import.meta.url).pathname;
const comprehensive3D = '1.2.840.10008.5.1.4.1.1.88.34';

const secondaryCapture = '1.2.840.10008.5.1.4.1.1.7';

interface StudyDetail {
  profile: string;
  subject: Record<string, string>;
  slices: {
    sopInstanceUID: string;
    frame: number;
    rows: number;
    columns: number;
    position: number | null;
    score: ScoreValues;
  }[];
}

async function describe(url: string, study: string): Promise<StudyDetail> {
  return (await (await fetch(`${url}/api/v1/studies/local/${study}`)).json()) as StudyDetail;
}

/** A note that rejects an object of the study that an image is of, as another node sends it. */
async function noteOn(data: string, image: string, rejected: InstanceReference): Promise<Uint8Array> {
  const pool = new DicomPool({ threads: 1 });
  const { dataset } = await pool.readHeader(image);
  await pool.close();
  const bundle = await openBundle(data, 'untrained');
  const context = resultContext(bundle, settingsSchema.parse({}).outputs, ['1.2.3'], new Date());
  return rejectionNote(context, dataset, [rejected]).bytes;
}

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
  const detail = await describe(first.url, study);
  const [rejected] = before.results.filter(({ sopClassUID }) => sopClassUID === secondaryCapture);
  await stow(first.dicomWebUrl, [await noteOn(data, series[0].path, rejected)]);
  const instances = JSON.stringify(await found(first.url)).replaceAll(first.url, '');
  await expect(reindex()).rejects.toThrow(/another process has this folder open/);
  await first.stop();

  rmSync(join(data, 'database'), { recursive: true });
  writeFileSync(join(data, 'instances', study, 'garbage.dcm'), 'no DICOM object');
  const lines = (await reindex()).stdout.trim().split('\n');
  expect(lines.map((line) => JSON.parse(line) as unknown)).toEqual([
    { type: 'broken', file: `${study}/garbage.dcm`, reason: expect.any(String) as string },
    {
      type: 'reindex',
      added: 4 + before.results.length,
      known: 0,
      results: 1,
      broken: 1,
      lost: expect.arrayContaining(['what readers said']) as string[],
    },
  ]);
  expect(existsSync(join(data, 'broken', study, 'garbage.dcm'))).toBe(true);
  expect(JSON.parse((await reindex()).stdout)).toMatchObject({ added: 0, results: 0, broken: 0 });

  const second = await startNodeProcess(environment);
  try {
    expect(JSON.stringify(await found(second.url)).replaceAll(second.url, '')).toBe(instances);
    const { bundle, score, results } = (await worklistEntry(second.url, study))!;
    const valid = before.results.filter((object) => object !== rejected);
    const uids = (objects: typeof results) => objects.map(({ sopInstanceUID }) => sopInstanceUID).sort();
    expect([bundle, uids(results)]).toEqual([before.bundle, uids(valid)]);
    const { slices, profile, subject } = await describe(second.url, study);
    expect({ profile, subject }).toEqual({ profile: detail.profile, subject: detail.subject });
    expect(slices.length).toBeGreaterThan(0);
    for (const { score: found, ...slice } of slices) {
      const { score: scored, ...same } = detail.slices.find(
        (one) => one.sopInstanceUID === slice.sopInstanceUID,
      )!;
      expect(slice).toEqual({ ...same, position: expect.closeTo(same.position!, 6) as number });
      expect(found.flagged).toBe(scored.flagged);
      expect(found.rawScore).toBeCloseTo(scored.rawScore, 5);
    }
    expect(score!.rawScore).toBeCloseTo(before.score!.rawScore, 5);
    await stow(second.dicomWebUrl, [series[3].bytes]);
    const isNew = ({ results: [{ sopInstanceUID }] }: typeof before) =>
      !before.results.some((old) => old.sopInstanceUID === sopInstanceUID);
    await scoredStudy(second.url, study, isNew);
    const query = `${second.dicomWebUrl}/studies/${study}/instances?SOPClassUID=${comprehensive3D}`;
    expect(await (await fetch(query)).json()).toHaveLength(1);
  } finally {
    await second.stop();
    rmSync(folder, { recursive: true });
  }
}, 900_000);

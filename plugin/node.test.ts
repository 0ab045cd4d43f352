import { execFile, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import sharp from 'sharp';
import type { DicomJson } from '../dicom/dicom-json.ts';
import type { ScoreValues } from '../dicom/result.ts';
import { readMeasurementReport } from '../dicom/sr/read-measurement-report.ts';
import { brainStudy } from '../fixtures/brain-study.ts';
import { writeCRImage, writeMRSeries, type WrittenInstance } from '../fixtures/dicom-series.ts';
import { startNodeProcess, type NodeProcess } from '../fixtures/node-process.ts';
import { describeWith } from '../fixtures/required-program.ts';
import { stow } from '../fixtures/stow.ts';
import { until } from '../fixtures/until.ts';
import { scoredStudy, worklistEntry } from '../fixtures/worklist.ts';

const secondaryCapture = '1.2.840.10008.5.1.4.1.1.7';
const comprehensive3D = '1.2.840.10008.5.1.4.1.1.88.34';

let folder: string;
let node: NodeProcess;
let series: WrittenInstance[];
let study: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'qfae-test-'));
  series = await writeMRSeries(join(folder, 'mr'), brainStudy({ seed: 1, slices: 6 }), { name: 'Node' });
  study = series[0].studyInstanceUID;
  node = await startNodeProcess({ QFAE_ARRIVAL_QUIET_SECONDS: '1' });
});

afterAll(async () => {
  await node.stop();
  rmSync(folder, { recursive: true });
});

async function getJson(path: string): Promise<DicomJson[]> {
  const answer = await fetch(`${node.dicomWebUrl}${path}`, { headers: { accept: 'application/dicom+json' } });
  expect(answer.status).toBe(200);
  return (await answer.json()) as DicomJson[];
}

const valueOf = (attributes: DicomJson, tag: string) => attributes[tag]?.Value?.[0];

describe('a study that arrives by STOW-RS', () => {
  test('is stored, scored after the quiet time, and its results stand beside it', async () => {
    const answer = await stow(
      node.dicomWebUrl,
      series.map(({ bytes }) => bytes),
    );
    expect(answer.status).toBe(200);
    const body = (await answer.json()) as DicomJson;
    expect(body['00081199']?.Value).toHaveLength(6);
    expect(body['00081198']).toBeUndefined();

    const { status, bundle, score, results } = await scoredStudy(node.url, study);
    expect(status).toBe('scored');
    expect(bundle).toMatch(/^untrained@[0-9a-f]{12}$/);
    expect(score!.pValue).toBeGreaterThan(0);
    expect(score!.percentile).toBeCloseTo(100 * (1 - score!.pValue), 9);
    expect(score!.flagged).toBe(score!.rawScore > score!.threshold);
    expect(results.filter(({ sopClassUID }) => sopClassUID === comprehensive3D)).toHaveLength(1);
    expect(results.filter(({ sopClassUID }) => sopClassUID === secondaryCapture).length).toBeGreaterThan(0);

    const [found] = await getJson(`/studies?StudyInstanceUID=${study}`);
    expect(found['00080061']?.Value).toEqual(expect.arrayContaining(['MR', 'OT', 'SEG', 'SR']));
    expect(valueOf(found, '00201206')).toBe(4);
    expect(valueOf(found, '00201208')).toBe(6 + results.length);
  });

  test('is one story in the log, and counts in the metrics', async () => {
    const { scoring } = await until('the last line of the story', () =>
      node.log().find(({ msg }) => msg === 'study is scored'),
    );
    const story = node.log().filter((line) => line['scoring'] === scoring);
    const told = story.map(({ msg }) => String(msg));
    expect(told.filter((line) => line === 'instance stored')).toHaveLength(6);
    expect(told).toEqual(
      expect.arrayContaining(['study is complete and waits to be scored', 'study is scored']),
    );
    expect(story[0]['request']).toMatch(/^[0-9a-f-]{36}$/);

    const metrics = await until('it counts', async () => {
      const text = await (await fetch(`${node.url}/metrics`)).text();
      return text.includes('state="scored",profile="untrained"} 1') && text;
    });
    for (const step of ['query', 'retrieve', 'score', 'store']) {
      expect(metrics).toContain(`qfae_stage_seconds_count{stage="${step}"} 1\n`);
    }
    expect(metrics).toMatch(/^qfae_jobs\{state="scored"\} 1$/m);
    expect(metrics).toMatch(/^qfae_oldest_job_seconds 0$/m);
    expect(metrics).toMatch(/^qfae_execution_provider\{provider="cpu",precision="float32"\} 1$/m);
    expect(metrics).toMatch(/^qfae_http_requests_total\{method="POST",status="200"\} 1$/m);
    expect(metrics).not.toContain(study);
  });

  test('is found by what it is, and not by what it is not', async () => {
    const name = (await getJson(`/studies?StudyInstanceUID=${study}`))[0]['00100010'].Value![0] as {
      Alphabetic: string;
    };
    for (const query of [
      `PatientName=${name.Alphabetic.slice(0, 4).toLowerCase()}*`,
      'ModalitiesInStudy=MR',
      '00080020=19000101-',
    ]) {
      expect(await getJson(`/studies?${query}`)).toHaveLength(1);
    }
    for (const query of ['PatientName=Nobody*', 'ModalitiesInStudy=CT', 'StudyDate=19000101-19000102']) {
      expect(await getJson(`/studies?${query}`)).toHaveLength(0);
    }
    expect(await getJson(`/studies/${study}/series?Modality=MR`)).toHaveLength(1);
    expect(await getJson(`/studies/${study}/instances?limit=2&offset=1`)).toHaveLength(2);
    expect((await fetch(`${node.dicomWebUrl}/studies?NoSuchThing=1`)).status).toBe(400);
    expect((await fetch(`${node.dicomWebUrl}/studies?PatientName=%00`)).status).toBe(400);
    const below = await fetch(`${node.dicomWebUrl}/studies?Modality=MR`);
    expect([below.status, below.headers.get('warning')]).toEqual([200, expect.stringContaining('Modality')]);
    expect(await getJson(`/studies/${study}/instances?StudyInstanceUID=1.2.3`)).not.toHaveLength(0);
  });

  test('comes back byte for byte, as frames, as metadata and as a picture', async () => {
    const { sopInstanceUID, seriesInstanceUID, bytes, pixels } = series[2];
    const path = `/studies/${study}/series/${seriesInstanceUID}/instances/${sopInstanceUID}`;
    const url = `${node.dicomWebUrl}${path}`;

    const whole = Buffer.from(await (await fetch(url)).arrayBuffer());
    expect(whole.indexOf(bytes)).toBeGreaterThan(0);
    const frame = await fetch(`${url}/frames/1`, {
      headers: { accept: 'multipart/related; type="application/octet-stream"' },
    });
    const samples = Buffer.from(pixels.buffer, pixels.byteOffset, pixels.byteLength);
    expect(Buffer.from(await frame.arrayBuffer()).indexOf(samples)).toBeGreaterThan(0);
    expect((await fetch(`${url}/frames/2`)).status).toBe(404);
    expect((await fetch(`${url}/frames/1`, { headers: { accept: 'video/mp4' } })).status).toBe(406);

    const [metadata] = await getJson(`${path}/metadata`);
    expect(valueOf(metadata, '00280010')).toBe(256);
    expect(metadata['7FE00010']?.InlineBinary).toBeUndefined();

    const picture = await fetch(`${url}/rendered`, { headers: { accept: 'image/png' } });
    const image = await sharp(Buffer.from(await picture.arrayBuffer())).metadata();
    expect([image.format, image.width, image.height]).toEqual(['png', 256, 256]);
  });

  test('is shown slice by slice: through a window, as the model made it, with the heatmap of its Secondary Capture', async () => {
    const entry = (await worklistEntry(node.url, study))!;
    const root = `${node.url}/api/v1/studies/local/${study}`;
    const { slices } = (await (await fetch(root)).json()) as { slices: { score: ScoreValues }[] };
    const highest = slices.reduce((best, { score }, i) => {
      return score.rawScore > slices[best].score.rawScore ? i : best;
    }, 0);
    const path = `${root}/slices/${highest + 1}`;
    const pixels = async (url: string) => {
      const answer = await fetch(url, { headers: { accept: 'image/png' } });
      expect([url, answer.status, answer.headers.get('content-type')]).toEqual([url, 200, 'image/png']);
      return sharp(Buffer.from(await answer.arrayBuffer()))
        .removeAlpha()
        .raw()
        .toBuffer({ resolveWithObject: true });
    };
    const slice = (await (await fetch(path)).json()) as Record<string, unknown>;
    expect(slice).toMatchObject({
      gridToSlice: [256 / 112, 0, 0, 0, 256 / 112, 0],
      window: { center: 600, width: 1200, lowest: 0 },
    });

    const own = await pixels(`${path}/image`);
    const same = await pixels(`${path}/image?window=600,1200`);
    const narrow = await pixels(`${path}/image?window=600,100`);
    expect(own.data.equals(same.data)).toBe(true);
    expect(own.data.equals(narrow.data)).toBe(false);

    const map = await pixels(`${path}/map`);
    const reconstruction = await pixels(`${path}/reconstruction`);
    expect([map.info.width, reconstruction.info.width]).toEqual([112, 112]);
    const { results } = entry;
    const captures = results.filter(({ sopClassUID }) => sopClassUID === secondaryCapture);
    const capture = await pixels(
      `${node.url}${captures[slices.some(({ score }) => score.flagged) ? slices.slice(0, highest).filter(({ score }) => score.flagged).length : 0].url!}/rendered`,
    );
    const heatmap = await pixels(`${path}/heatmap`);
    const difference = heatmap.data.reduce((sum, value, i) => sum + Math.abs(value - capture.data[i]), 0);
    expect(difference / heatmap.data.length).toBeLessThan(0.5); // the map is kept in 8 bits
    const { channels } = own.info;
    const withoutMap = heatmap.data.reduce((sum, value, i) => {
      return sum + Math.abs(value - own.data[Math.floor(i / 3) * channels]);
    }, 0);
    expect(withoutMap / heatmap.data.length).toBeGreaterThan(1);

    for (const [query, status] of [
      ['slices/0', 400],
      ['slices/7', 404],
      [`slices/1/image?window=x`, 400],
    ] as const) {
      expect((await fetch(`${root}/${query}`)).status).toBe(status);
    }
  });

  test('is not scored again when it is sent again; when more of it comes, the new result replaces the old', async () => {
    const before = (await worklistEntry(node.url, study))!;
    await stow(node.dicomWebUrl, [series[0].bytes]);
    const late = await writeMRSeries(join(folder, 'late'), brainStudy({ seed: 1, slices: 7 }), {
      name: 'Node',
    });
    expect((await stow(node.dicomWebUrl, [late[6].bytes])).status).toBe(200);
    const after = await scoredStudy(node.url, study, ({ requestedAt }) => requestedAt !== before.requestedAt);

    const reports = await getJson(`/studies/${study}/instances?SOPClassUID=${comprehensive3D}`);
    expect(reports).toHaveLength(1);
    const report = after.results.find(({ sopClassUID }) => sopClassUID === comprehensive3D)!;
    expect(valueOf(reports[0], '00080018')).toBe(report.sopInstanceUID);
    const [dataset] = await getJson(
      `/studies/${study}/series/${report.seriesInstanceUID}/instances/${report.sopInstanceUID}/metadata`,
    );
    const old = before.results.find(({ sopClassUID }) => sopClassUID === comprehensive3D)!;
    expect(JSON.stringify(dataset['0040A360'])).toContain(old.sopInstanceUID);
  });

  test('has the numbers of `qfae score --json` in its report, at batch 1 and 4', async () => {
    const { results } = (await worklistEntry(node.url, study))!;
    const { seriesInstanceUID, sopInstanceUID } = results.find(
      ({ sopClassUID }) => sopClassUID === comprehensive3D,
    )!;
    const [dataset] = await getJson(
      `/studies/${study}/series/${seriesInstanceUID}/instances/${sopInstanceUID}/metadata`,
    );
    const report = readMeasurementReport(dataset);
    const qfae = new URL('cli/qfae.ts', import.meta.url).pathname;
    const source = join(node.data, 'instances', study, series[0].seriesInstanceUID);
    for (const batch of ['1', '4']) {
      // Not execFileSync: while it blocks, the node closes connections that the next request would use again.
      const { stdout: output } = await promisify(execFile)(
        process.execPath,
        [qfae, 'score', source, '--json', '--batch-size', batch],
        { env: { PATH: process.env['PATH'], QFAE_BUNDLE: 'untrained', QFAE_DATA: node.data } },
      );
      const lines = output
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as Record<string, unknown>);
      expectScore(
        report.study,
        lines.find(({ type }) => type === 'study')!,
      );
      expect(report.study.threshold).toBeCloseTo(lines.at(-1)!['threshold'] as number, 5);
      expect(lines.filter(({ type }) => type === 'slice')).toHaveLength(7);
      expect(report.slices.length).toBeGreaterThan(0);
      for (const slice of report.slices) {
        expectScore(
          slice.score,
          lines.find((line) => line['sopInstanceUID'] === slice.sopInstanceUID)!,
        );
      }
    }
  });
});

/** What a report says is what a line of `qfae score --json` says. */
function expectScore(score: ScoreValues, line: Record<string, unknown>): void {
  for (const key of ['rawScore', 'pValue', 'percentile'] as const) {
    expect(score[key]).toBeCloseTo(line[key] as number, 5);
  }
  expect(score.flagged).toBe(line['flagged']);
}

describe('bad input', () => {
  const failureReasons = async (answer: Response) =>
    Object.entries((await answer.json()) as DicomJson)
      .filter(([tag]) => tag === '00081198' || tag === '0008119A')
      .flatMap(([, { Value }]) => Value as DicomJson[])
      .map((item) => (valueOf(item, '00081197') as number).toString(16));

  test.each([
    ['garbage', () => [Buffer.from('this is no DICOM object')], 400, ['c000']],
    ['a truncated file', () => [series[0].bytes.subarray(0, 20_000)], 400, ['c000']],
    ['an empty part', () => [Buffer.alloc(0)], 400, ['c000']],
    [
      'a data set without file meta information',
      () => [series[0].bytes.subarray(144 + Buffer.from(series[0].bytes).readUInt32LE(140))],
      400,
      ['c000'],
    ],
  ])('%s is refused, and the node goes on', async (_what, objects, status, reasons) => {
    const answer = await stow(node.dicomWebUrl, objects());
    expect(answer.status).toBe(status);
    expect(await failureReasons(answer)).toEqual(reasons);
    expect((await fetch(`${node.url}/readyz`)).status).toBe(200);
  });

  test('an unsupported SOP class is a conflict; beside a good object it is told apart', async () => {
    const other = await writeCRImage(join(folder, 'other'), {
      name: 'Other',
      attributes: { SOPClassUID: '1.2.840.10008.5.1.4.34.6.1' },
    });
    const refused = await stow(node.dicomWebUrl, [other.bytes]);
    expect(refused.status).toBe(409);
    expect(await failureReasons(refused)).toEqual(['122']);
    const mixed = await stow(node.dicomWebUrl, [other.bytes, series[0].bytes]);
    expect(mixed.status).toBe(202);
  });

  test('an InstanceNumber that is none and a NUL in a name do no harm', async () => {
    const odd = await writeCRImage(join(folder, 'odd'), {
      name: 'Odd',
      attributes: { InstanceNumber: 'A1', PatientName: 'No\0ne' },
    });
    expect((await stow(node.dicomWebUrl, [odd.bytes])).status).toBe(200);
    expect(await getJson(`/studies/${odd.studyInstanceUID}/metadata`)).toHaveLength(1);
    expect((await scoredStudy(node.url, odd.studyInstanceUID)).status).toBe('scored');
  });

  test('a wrong content type, another study than the one named, and no UID are refused', async () => {
    for (const type of [
      'application/json',
      'application/dicom+json',
      'multipart/related; type="application/dicom+json"; boundary=b',
    ]) {
      const wrong = await fetch(`${node.dicomWebUrl}/studies`, {
        method: 'POST',
        headers: { 'content-type': type },
        body: '{}',
      });
      expect(wrong.status).toBe(415);
      expect(((await wrong.json()) as { detail: string }).detail).toMatch(/stored as application\/dicom or/);
    }
    const mismatch = await stow(node.dicomWebUrl, [series[0].bytes], { path: '/studies/1.2.3' });
    expect([mismatch.status, await failureReasons(mismatch)]).toEqual([409, ['a900']]);
    expect((await fetch(`${node.dicomWebUrl}/studies/..%2f..%2fetc`)).status).toBe(400);
    expect((await fetch(`${node.dicomWebUrl}/studies/1.2.3`)).status).toBe(404);
  });

  test('each refusal has its line in the log, without the patient', () => {
    const refusals = node.log().filter(({ msg }) => String(msg).startsWith('instance refused'));
    expect(refusals.length).toBeGreaterThanOrEqual(5);
    expect(refusals.every(({ part }) => part === 1)).toBe(true);
    expect(JSON.stringify(node.log())).not.toMatch(/Sample|\^/);
  });

  test('a study without a grey series is not scored, with the reason, and nothing is written', async () => {
    const colour = await writeCRImage(join(folder, 'seg'), {
      name: 'Report',
      attributes: { Modality: 'SR' },
    });
    await stow(node.dicomWebUrl, [colour.bytes]);
    const entry = await scoredStudy(node.url, colour.studyInstanceUID);
    expect(entry).toMatchObject({ status: 'not-scored', results: [], score: null });
    expect(entry.reason).toMatch(/modality SR/);
  });
});

test('a node that was killed in the quiet time scores the study after its restart, once', async () => {
  const killed = await writeMRSeries(join(folder, 'killed'), brainStudy({ seed: 2, slices: 3 }), {
    name: 'Killed',
  });
  const data = mkdtempSync(join(tmpdir(), 'qfae-killed-'));
  const environment = { QFAE_DATA: data, QFAE_ARRIVAL_QUIET_SECONDS: '2' };
  const first = await startNodeProcess(environment);
  await stow(
    first.dicomWebUrl,
    killed.map(({ bytes }) => bytes),
  );
  await first.stop('SIGKILL');
  const second = await startNodeProcess(environment);
  try {
    const { status, results } = await scoredStudy(second.url, killed[0].studyInstanceUID);
    expect(status).toBe('scored');
    expect(results.filter(({ sopClassUID }) => sopClassUID === comprehensive3D)).toHaveLength(1);
  } finally {
    await second.stop();
    rmSync(data, { recursive: true });
  }
});

describeWith(['dciodvfy'], 'what stands in the store', () => {
  test('is free of errors by dciodvfy', async () => {
    const { results } = (await worklistEntry(node.url, study))!;
    expect(results.length).toBeGreaterThan(1);
    for (const { seriesInstanceUID, sopInstanceUID } of results) {
      const file = join(node.data, 'instances', study, seriesInstanceUID, `${sopInstanceUID}.dcm`);
      const { stderr } = spawnSync('dciodvfy', [file], { encoding: 'utf8' });
      expect(stderr.split('\n').filter((line) => line.startsWith('Error'))).toEqual([]);
    }
  });
});

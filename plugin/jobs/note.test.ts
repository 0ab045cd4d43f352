import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DicomJson } from '../../dicom/dicom-json.ts';
import { writeCTSeries } from '../../fixtures/dicom-series.ts';
import { startNodeProcess } from '../../fixtures/node-process.ts';
import { startOrthanc } from '../../fixtures/orthanc.ts';
import { describeWith } from '../../fixtures/required-program.ts';
import { stow } from '../../fixtures/stow.ts';
import { until } from '../../fixtures/until.ts';
import { scoredStudy, worklistEntry } from '../../fixtures/worklist.ts';

/** Passes everything on to `target`, but answers what would change metadata with `status` where that is given. */
async function relay(target: string) {
  const door: { status: number | undefined; url: string; stop(): void } = {
    status: undefined,
    url: '',
    stop: () => {
      server.close().closeAllConnections();
    },
  };
  const server = createServer((incoming, answer) => {
    const { method, headers, url = '' } = incoming;
    if (door.status !== undefined && method === 'PUT' && url.includes('/metadata/')) {
      incoming.resume();
      answer.writeHead(door.status).end();
      return;
    }
    const onward = request(`${target}${url}`, { method, headers }, (reply) => {
      answer.writeHead(reply.statusCode!, reply.headers);
      reply.pipe(answer);
    });
    onward.on('error', () => answer.destroy());
    incoming.pipe(onward);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  door.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return door;
}

describeWith(['Orthanc'], 'the percentile beside a study in a real Orthanc', () => {
  test('is tried again where Orthanc fails, and given up where it refuses; the result is written once', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'qfae-note-'));
    const orthanc = await startOrthanc({ folder: join(folder, 'orthanc') });
    const door = await relay(orthanc.url);
    const node = await startNodeProcess({
      QFAE_DATA: join(folder, 'data'),
      QFAE_ARRIVAL_QUIET_SECONDS: '1',
      QFAE_ORTHANC_URL: door.url,
      QFAE_ORTHANC_POLL_SECONDS: '0.5',
    });
    const send = async (name: string) => {
      const series = await writeCTSeries(join(folder, name), { name, slices: 2, rows: 48, columns: 48 });
      const objects = series.map(({ bytes }) => bytes);
      expect((await stow(orthanc.dicomWebUrl, objects)).status).toBe(200);
      return series[0].studyInstanceUID;
    };
    const percentile = async (study: string) => {
      const found = await fetch(`${orthanc.url}/tools/lookup`, { method: 'POST', body: study });
      const [{ Path }] = (await found.json()) as { Path: string }[];
      const answer = await fetch(`${orthanc.url}${Path}/metadata/8780`);
      return answer.ok ? Number(await answer.text()) : undefined;
    };
    const instances = async (study: string) => {
      const answer = await fetch(`${orthanc.dicomWebUrl}/studies/${study}/instances`);
      return ((await answer.json()) as DicomJson[]).map((one) => one['00080018'].Value![0]).sort();
    };
    try {
      door.status = 503;
      const failing = await send('Failing');
      await until('the note has failed', async () => {
        const { status, step, reason } = (await worklistEntry(node.url, failing)) ?? {};
        return status === 'queued' && step === 'note' && reason?.includes('was answered 503');
      });
      const written = await instances(failing);
      door.status = undefined;
      const { results, score } = await scoredStudy(
        node.url,
        failing,
        ({ status }) => status === 'scored',
        240,
      );
      expect(await percentile(failing)).toBeCloseTo(score!.percentile, 2);
      expect(written).toHaveLength(2 + results.length);
      expect(await instances(failing)).toEqual(written);

      door.status = 403;
      const refused = await send('Refused');
      await scoredStudy(node.url, refused, ({ status }) => status === 'scored', 240);
      expect(await percentile(refused)).toBeUndefined();
      expect(node.log().map(({ msg }) => msg)).toContain('the archive takes no percentile beside the study');
    } finally {
      await node.stop();
      door.stop();
      await orthanc.stop();
      rmSync(folder, { recursive: true });
    }
  }, 600_000);
});

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as dicomweb from 'dicomweb-client';
import { fetch as undiciFetch } from 'undici';
import type { DicomJson } from '../../dicom/dicom-json.ts';
import { writeCTSeries, type WrittenInstance } from '../../fixtures/dicom-series.ts';
import { startNodeProcess, type NodeProcess } from '../../fixtures/node-process.ts';
import { startOrthanc, type Orthanc } from '../../fixtures/orthanc.ts';
import { describeWith } from '../../fixtures/required-program.ts';

const timeoutMs = 300_000;

let folder: string;
let node: NodeProcess;
let series: WrittenInstance[];
let uids: { studyInstanceUID: string; seriesInstanceUID: string; sopInstanceUID: string };

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'qfae-clients-'));
  node = await startNodeProcess({ QFAE_ARRIVAL_QUIET_SECONDS: '86400' });
  series = await writeCTSeries(join(folder, 'ct'), { name: 'Clients', slices: 2 });
  const { studyInstanceUID, seriesInstanceUID, sopInstanceUID } = series[0];
  uids = { studyInstanceUID, seriesInstanceUID, sopInstanceUID };
}, timeoutMs);

afterAll(async () => {
  await node.stop();
  rmSync(folder, { recursive: true });
}, timeoutMs);

/** What dicomweb-client uses of a browser's XMLHttpRequest. */
class BrowserRequest {
  readyState = 0;
  status = 0;
  response: unknown;
  responseType = '';
  onreadystatechange: () => void = () => undefined;
  readonly #headers: Record<string, string> = {};
  #target: { method: string; url: string } | undefined;
  #answered: { get(name: string): string | null } | undefined;

  open(method: string, url: string): void {
    this.#target = { method: method.toUpperCase(), url };
  }
  setRequestHeader(name: string, value: string): void {
    this.#headers[name] = value;
  }
  send(body?: ArrayBuffer): void {
    const { method, url } = this.#target!;
    void undiciFetch(url, { method, headers: this.#headers, ...(body && { body }) }).then(async (answer) => {
      const bytes = await answer.arrayBuffer();
      const text = () => Buffer.from(bytes).toString('utf8');
      this.#answered = answer.headers;
      this.response =
        this.responseType === 'arraybuffer'
          ? bytes
          : this.responseType === 'json'
            ? JSON.parse(text())
            : text();
      this.status = answer.status;
      this.readyState = 4;
      this.onreadystatechange();
    });
  }
  getResponseHeader(name: string): string | null {
    return this.#answered?.get(name) ?? null;
  }
  getAllResponseHeaders(): string {
    return '';
  }
}

type Call = (options: object) => Promise<unknown>;

const pixelsOf = ({ pixels }: WrittenInstance) =>
  Buffer.from(pixels.buffer, pixels.byteOffset, pixels.byteLength);

test(
  'every method of dicomweb-client gets what it asks for',
  async () => {
    const url = node.dicomWebUrl;
    const client = new dicomweb.api.DICOMwebClient({ url, verbose: false } as never) as unknown as Record<
      string,
      Call
    >;
    const call = (method: string, options: object = {}) =>
      client[method]({ ...uids, ...options, request: { instance: new BrowserRequest() } });
    const bytes = (answer: unknown) =>
      Buffer.from((Array.isArray(answer) ? answer[0] : answer) as ArrayBuffer);

    await call('storeInstances', { datasets: series.map((one) => one.bytes.slice().buffer) });
    expect(await call('searchForStudies', { queryParams: { PatientID: 'QFAE-CLIENTS' } })).toHaveLength(1);
    expect(await call('searchForSeries')).toHaveLength(1);
    expect(await call('searchForInstances')).toHaveLength(2);
    expect(await call('retrieveStudyMetadata')).toHaveLength(2);
    expect(await call('retrieveSeriesMetadata')).toHaveLength(2);
    const metadata = (await call('retrieveInstanceMetadata')) as DicomJson | DicomJson[];
    const [dataset] = Array.isArray(metadata) ? metadata : [metadata];
    expect(dataset['00080018'].Value).toEqual([uids.sopInstanceUID]);

    const frames = await call('retrieveInstanceFrames', { frameNumbers: [1] });
    expect(bytes(frames).equals(pixelsOf(series[0]))).toBe(true);
    const bulk = await call('retrieveBulkData', { BulkDataURI: dataset['7FE00010'].BulkDataURI });
    expect(bytes(bulk).equals(pixelsOf(series[0]))).toBe(true);

    const jpeg = Buffer.from([0xff, 0xd8, 0xff]);
    for (const method of ['retrieveInstanceRendered', 'retrieveInstanceThumbnail']) {
      const picture = bytes(await call(method, { mediaTypes: [{ mediaType: 'image/jpeg' }] }));
      expect([method, picture.subarray(0, 3)]).toEqual([method, jpeg]);
    }
    for (const method of ['retrieveInstanceFramesRendered', 'retrieveInstanceFramesThumbnail']) {
      const options = { frameNumbers: [1], mediaTypes: [{ mediaType: 'image/jpeg' }] };
      expect([method, bytes(await call(method, options)).subarray(0, 3)]).toEqual([method, jpeg]);
    }

    expect(
      bytes(await call('retrieveInstance'))
        .subarray(128, 132)
        .toString(),
    ).toBe('DICM');
    expect(await call('retrieveSeries')).toHaveLength(2);
    expect(await call('retrieveStudy')).toHaveLength(2);
  },
  timeoutMs,
);

test(
  "OHIF's requests are answered",
  async () => {
    const { studyInstanceUID: study, seriesInstanceUID } = uids;
    const get = async (path: string, accept: string) => {
      const answer = await fetch(`${node.dicomWebUrl}${path}`, { headers: { accept } });
      expect([path, answer.status]).toEqual([path, 200]);
      return answer;
    };
    const json = async (path: string) =>
      (await (await get(path, 'application/dicom+json')).json()) as DicomJson[];
    const list = 'limit=101&offset=0&fuzzymatching=false&includefield=00081030,00080060';
    expect(await json(`/studies?${list}&StudyDate=20000101-20991231&PatientName=*QFAE*`)).toHaveLength(1);
    const [found] = await json(`/studies/${study}/series?includefield=00080021,00080031,0008103E,00200011`);
    expect(found['0008103E'].Value).toEqual(['CT test pattern']);
    const metadata = await json(`/studies/${study}/series/${seriesInstanceUID}/metadata`);
    expect(metadata).toHaveLength(2);
    const instance = `/studies/${study}/series/${seriesInstanceUID}/instances/${uids.sopInstanceUID}`;
    const frame = await get(
      `${instance}/frames/1`,
      'multipart/related; type=application/octet-stream; transfer-syntax=*',
    );
    expect(Buffer.from(await frame.arrayBuffer()).includes(pixelsOf(series[0]))).toBe(true);
    await get(`${instance}/rendered?accept=image/jpeg`, '*/*');
    await get(`${instance}/thumbnail?accept=image/jpeg`, 'image/jpeg');
    await get(metadata[0]['7FE00010'].BulkDataURI!.slice(node.dicomWebUrl.length), '*/*');
  },
  timeoutMs,
);

describeWith(['Orthanc'], 'Orthanc as a client', () => {
  let orthanc: Orthanc;

  beforeAll(async () => {
    orthanc = await startOrthanc({
      configuration: {
        DicomWeb: { Enable: true, Root: '/dicom-web/', Servers: { qfae: { Url: `${node.dicomWebUrl}/` } } },
      },
    });
  }, timeoutMs);

  afterAll(() => orthanc.stop(), timeoutMs);

  const post = async (path: string, body: unknown) => {
    const answer = await fetch(`${orthanc.url}${path}`, {
      method: 'POST',
      body: body instanceof Uint8Array ? body.slice().buffer : JSON.stringify(body),
    });
    const text = await answer.text();
    expect([path, answer.status, text]).toEqual([path, 200, expect.anything()]);
    return JSON.parse(text) as unknown;
  };

  test(
    'sends studies to the node, finds them there, and fetches them back',
    async () => {
      const sent = await writeCTSeries(join(folder, 'peer'), { name: 'Peer', slices: 3 });
      const study = sent[0].studyInstanceUID;
      for (const { bytes } of sent) await post('/instances', bytes);
      const [id] = (await (await fetch(`${orthanc.url}/studies`)).json()) as string[];
      await post('/dicom-web/servers/qfae/stow', { Resources: [id], Synchronous: true });

      const found = await post('/dicom-web/servers/qfae/qido', {
        Uri: '/studies',
        Arguments: { StudyInstanceUID: study },
      });
      expect(JSON.stringify(found)).toContain(study);

      await fetch(`${orthanc.url}/studies/${id}`, { method: 'DELETE' });
      await post('/dicom-web/servers/qfae/retrieve', { Resources: [{ Study: study }], Synchronous: true });
      const back = (await (
        await fetch(`${orthanc.dicomWebUrl}/instances?StudyInstanceUID=${study}`)
      ).json()) as DicomJson[];
      expect(back.map((one) => one['00080018'].Value![0]).sort()).toEqual(
        sent.map(({ sopInstanceUID }) => sopInstanceUID).sort(),
      );
    },
    timeoutMs,
  );
});

import { mkdtempSync, rmSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import sharp from 'sharp';
import type { DicomJson } from '../../dicom/dicom-json.ts';
import { pydicom, python } from '../../dicom/pydicom-reference.ts';
import { writeCRImage, writeCTSeries, type WrittenInstance } from '../../fixtures/dicom-series.ts';
import { startNodeProcess, type NodeProcess } from '../../fixtures/node-process.ts';
import { describeWith } from '../../fixtures/required-program.ts';
import { stow } from '../../fixtures/stow.ts';
import { transferSyntaxes } from '../../fixtures/transfer-syntax.ts';
import { capabilities } from './capabilities.ts';
import { parseMediaType } from './media-type.ts';
import { boundaryOf, readParts } from './multipart.ts';

const timeoutMs = 300_000;
const explicitLittleEndian = '1.2.840.10008.1.2.1';
const origin = 'https://viewer.example.org';
/** Longer than what stands in the metadata by value. */
const longText = 'Ä'.repeat(40_000);

let folder: string;
let node: NodeProcess;
/** One study: three slices in JPEG-LS. */
let ct: WrittenInstance[];
/** Another: one image in implicit little endian, with a long text and names in two alphabets. */
let cr: WrittenInstance;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'qfae-dicomweb-'));
  node = await startNodeProcess({
    QFAE_ARRIVAL_QUIET_SECONDS: '86400',
    QFAE_HTTP_ALLOWED_ORIGINS: `["${origin}"]`,
    QFAE_DICOMWEB_DELETE: 'true',
  });
  ct = await writeCTSeries(join(folder, 'ct'), {
    name: 'Tomography',
    slices: 3,
    transferSyntaxUID: transferSyntaxes.jpegLS,
    attributes: { StudyDate: '20240229', StudyTime: '093015', PatientName: 'Müller^Jörg' },
  });
  cr = await writeCRImage(join(folder, 'cr'), {
    name: 'Radiography',
    transferSyntaxUID: transferSyntaxes.implicitVRLittleEndian,
    attributes: { PatientName: 'Hong^Gildong=洪^吉洞', TextValue: longText, PatientComments: 'anxious' },
  });
  const answer = await stow(
    node.dicomWebUrl,
    [...ct, cr].map(({ bytes }) => bytes),
  );
  expect(answer.status).toBe(200);
}, timeoutMs);

afterAll(async () => {
  await node.stop();
  rmSync(folder, { recursive: true });
}, timeoutMs);

const get = (path: string, accept?: string) =>
  fetch(`${node.dicomWebUrl}${path}`, { headers: accept === undefined ? {} : { accept } });

async function search(path: string): Promise<DicomJson[]> {
  const answer = await get(path, 'application/dicom+json');
  expect([path, answer.status]).toEqual([path, 200]);
  return (await answer.json()) as DicomJson[];
}

/** Content type and bytes of each part. */
async function partsOf(
  answer: Response,
): Promise<{ type: string; location: string | undefined; bytes: Buffer }[]> {
  expect(answer.status).toBe(200);
  const boundary = boundaryOf(parseMediaType(answer.headers.get('content-type')!)!);
  const parts = [];
  for await (const part of readParts(Readable.fromWeb(answer.body as never), boundary)) {
    const { 'content-type': type, 'content-location': location } = part.headers;
    parts.push({ type, location, bytes: await buffer(part.body) });
  }
  return parts;
}

const urlOf = ({ studyInstanceUID, seriesInstanceUID, sopInstanceUID }: WrittenInstance) =>
  `/studies/${studyInstanceUID}/series/${seriesInstanceUID}/instances/${sopInstanceUID}`;
const pixelsOf = ({ pixels }: WrittenInstance) =>
  Buffer.from(pixels.buffer, pixels.byteOffset, pixels.byteLength);
const valueOf = (attributes: DicomJson, tag: string) => attributes[tag]?.Value?.[0];

describe('search', () => {
  test.each([
    ['StudyDate=20240229', 1],
    ['StudyDate=20240101-20241231', 1],
    ['StudyDate=-20200101', 0],
    ['StudyTime=0930-0930', 1],
    ['StudyTime=0931-', 0],
    ['PatientName=müller*', 1],
    ['PatientName=Hong', 0],
    ['PatientName=Hong^Gildong^', 1],
    ['PatientName=洪*', 1],
    ['PatientName=jör&fuzzymatching=true', 1],
    ['PatientName=jör mül&fuzzymatching=true', 1],
    ['PatientName=ürg&fuzzymatching=true', 0],
    ['PatientID=QFAE-T*', 1],
    ['PatientID=QFAE_T*', 0],
    ['PatientID=QFAE-TOMOGRAPH?', 1],
    ['00100020=QFAE-TOMOGRAPHY', 1],
    ['ModalitiesInStudy=CT', 1],
    ['ModalitiesInStudy=CT,CR', 2],
    ['StudyInstanceUID=1.2.3', 0],
    ['limit=1', 1],
    ['limit=5&offset=1', 1],
    ['limit=0', 0],
  ])('studies?%s finds %i', async (query, count) => {
    expect(await search(`/studies?${query}`)).toHaveLength(count);
  });

  test('finds lists of UIDs, values among several, and what stands below a study or series', async () => {
    const [first, second] = ct;
    const uids = [first, second].map(({ sopInstanceUID }) => sopInstanceUID);
    expect(await search(`/instances?SOPInstanceUID=${uids.join(',')}`)).toHaveLength(2);
    expect(await search(`/instances?SOPInstanceUID=${uids.join('%5C')}`)).toHaveLength(2);
    expect(await search('/instances?ImageType=AXIAL')).toHaveLength(3);
    expect(await search(`/studies/${cr.studyInstanceUID}/series`)).toHaveLength(1);
    expect(await search(`/studies/${cr.studyInstanceUID}/instances?Modality=CT`)).toHaveLength(0);
    const series = `/studies/${first.studyInstanceUID}/series/${first.seriesInstanceUID}`;
    expect(await search(`${series}/instances?InstanceNumber=2`)).toHaveLength(1);
  });

  test('returns the attributes of the tables, and those asked for of the level and those above it', async () => {
    const [study] = await search('/studies?ModalitiesInStudy=CT');
    expect(study).toMatchObject({
      '00080056': { vr: 'CS', Value: ['ONLINE'] },
      '00080061': { vr: 'CS', Value: ['CT'] },
      '00081190': { Value: [`${node.dicomWebUrl}/studies/${ct[0].studyInstanceUID}`] },
      '00100010': { vr: 'PN', Value: [{ Alphabetic: 'Müller^Jörg' }] },
      '00201206': { vr: 'IS', Value: [1] },
      '00201208': { vr: 'IS', Value: [3] },
    });
    const [series] = await search('/series?Modality=CT');
    expect(valueOf(series, '00201209')).toBe(3);
    const [instance] = await search(`/instances?SOPInstanceUID=${ct[0].sopInstanceUID}`);
    expect(valueOf(instance, '00083002')).toBe(transferSyntaxes.jpegLS);
    expect(instance['00180060']).toBeUndefined();

    const [commented] = await search('/studies?ModalitiesInStudy=CR&includefield=PatientComments,00080070');
    expect(valueOf(commented, '00104000')).toBe('anxious');
    expect(commented['00080070']).toBeUndefined(); // the manufacturer is one of the series
    const [withKVP] = await search('/instances?Modality=CT&limit=1&includefield=KVP');
    expect(valueOf(withKVP, '00180060')).toBe(120);
    const [whole] = await search('/instances?Modality=CT&limit=1&includefield=all');
    expect(valueOf(whole, '00281052')).toBe(-1024);
    expect(whole['7FE00010']).toBeUndefined();
  });

  test.each([
    'StudyDate=yesterday',
    'NoSuchKeyword=1',
    'limit=-1',
    'fuzzymatching=perhaps',
    'StudyInstanceUID=x',
  ])('%s is a bad request', async (query) => {
    expect((await get(`/studies?${query}`)).status).toBe(400);
  });

  test('an attribute that is not matched is named in a warning', async () => {
    const answer = await get('/studies?SliceThickness=5');
    expect([answer.status, answer.headers.get('warning')]).toEqual([
      200,
      expect.stringMatching(/^299 .*SliceThickness/),
    ]);
  });
});

describe('retrieve', () => {
  test('objects come as stored where that is asked for', async () => {
    const accept = 'multipart/related; type="application/dicom"; transfer-syntax=*';
    const parts = await partsOf(await get(`/studies/${ct[0].studyInstanceUID}`, accept));
    expect(parts.map(({ type }) => type)).toEqual(
      Array(3).fill(`application/dicom; transfer-syntax=${transferSyntaxes.jpegLS}`),
    );
    expect(parts.map(({ bytes }, index) => bytes.equals(ct[index].bytes))).toEqual([true, true, true]);
    const single = await get(urlOf(cr), 'application/dicom; transfer-syntax=*');
    expect(Buffer.from(await single.arrayBuffer()).equals(cr.bytes)).toBe(true);
  });

  test('a transfer syntax that is neither stored nor explicit little endian is not to be had', async () => {
    const accept = 'application/dicom; transfer-syntax=1.2.840.10008.1.2.4.90';
    expect((await get(urlOf(cr), accept)).status).toBe(406);
    expect((await get(urlOf(cr), `${accept}, application/dicom;q=0.5`)).status).toBe(200);
    expect((await get(`/studies/${ct[0].studyInstanceUID}`, 'application/dicom')).status).toBe(406);
  });

  describeWith([python], 'by pydicom', () => {
    test('what names no transfer syntax comes in explicit little endian, with all that was in it', async () => {
      const [jpegLS] = await partsOf(await get(urlOf(ct[0]), 'multipart/related; type="application/dicom"'));
      expect(jpegLS.type).toBe(`application/dicom; transfer-syntax=${explicitLittleEndian}`);
      const implicit = await get(`${urlOf(cr)}?accept=application/dicom`);
      const copies = [jpegLS.bytes, Buffer.from(await implicit.arrayBuffer())];
      const originals = [ct[0].bytes, cr.bytes];
      const read = pydicom(
        `
output = []
def plain(data):
    dataset = pydicom.dcmread(pydicom.filebase.DicomBytesIO(base64.b64decode(data)))
    pixels = dataset.PixelData if 'PixelData' in dataset else b''
    del dataset.PixelData
    return dataset, pixels
for copy, original in zip(*input):
    a, pixels = plain(copy)
    b, _ = plain(original)
    a.SpecificCharacterSet = b.SpecificCharacterSet
    differing = [str(e.tag) for e in a if e.tag not in b or b[e.tag].value != e.value]
    output.append({
        'syntax': str(a.file_meta.TransferSyntaxUID),
        'differing': differing,
        'missing': [str(e.tag) for e in b if e.tag not in a],
        'pixels': base64.b64encode(pixels).decode(),
    })
`,
        [copies, originals].map((files) => files.map((bytes) => Buffer.from(bytes).toString('base64'))),
      );
      const whole = (instance: WrittenInstance) => ({
        syntax: explicitLittleEndian,
        differing: [],
        missing: [],
        pixels: pixelsOf(instance).toString('base64'),
      });
      expect(read).toEqual([whole(ct[0]), whole(cr)]);
    });
  });

  test('metadata have an address for each value that they leave out, and it is served', async () => {
    const [metadata] = await search(`${urlOf(cr)}/metadata`);
    const text = metadata['0040A160'];
    expect(text).toEqual({ vr: 'UT', BulkDataURI: `${node.dicomWebUrl}${urlOf(cr)}/bulkdata/0040A160` });
    const value = await fetch(text.BulkDataURI!, { headers: { accept: 'application/octet-stream' } });
    expect(Buffer.from(await value.arrayBuffer()).toString('utf8')).toBe(longText);
    const pixels = await fetch(metadata['7FE00010'].BulkDataURI!);
    expect((await partsOf(pixels))[0].bytes.equals(pixelsOf(cr))).toBe(true);
    expect((await get(`${urlOf(cr)}/bulkdata/00100010`)).status).toBe(404);
  });

  test('metadata, search results and the outcome of storing as XML, for whom that is the form', async () => {
    const xml = 'multipart/related; type="application/dicom+xml"';
    const metadata = await partsOf(await get(`/studies/${ct[0].studyInstanceUID}/metadata`, xml));
    expect(metadata.map(({ type }) => type)).toEqual(Array(3).fill('application/dicom+xml'));
    metadata.forEach(({ bytes }, i) => {
      expect(bytes.toString()).toContain(
        `<BulkData uri="${node.dicomWebUrl}${urlOf(ct[i])}/bulkdata/7FE00010"/>`,
      );
    });
    const found = await partsOf(await get('/studies?PatientName=müller*', `text/html, ${xml}`));
    expect(found.map(({ bytes }) => bytes.toString())).toEqual([
      expect.stringContaining('<FamilyName>Müller</FamilyName><GivenName>Jörg</GivenName>'),
    ]);
    expect((await get('/studies?PatientName=nobody', xml)).status).toBe(204);
    expect(
      (await get('/studies', `${xml}, application/dicom+json;q=0.5`)).headers.get('content-type'),
    ).toMatch(/^multipart\/related/);
    expect((await get('/studies', `${xml};q=0.5, */*`)).headers.get('content-type')).toMatch(/json/);
    expect((await get('/studies', 'application/dicom+xml')).status).toBe(406);

    const stored = await stow(node.dicomWebUrl, [cr.bytes], { headers: { accept: 'application/dicom+xml' } });
    expect([stored.status, stored.headers.get('content-type')]).toEqual([
      200,
      expect.stringMatching(/^application\/dicom\+xml/),
    ]);
    expect(await stored.text()).toContain(`<Value number="1">${cr.sopInstanceUID}</Value>`);
  });

  test('all bulk data of an instance or a study, each part with its address', async () => {
    const accept = 'multipart/related; type="application/octet-stream"';
    const parts = await partsOf(await get(urlOf(cr), accept));
    expect(parts.map(({ location }) => location)).toEqual([
      `${node.dicomWebUrl}${urlOf(cr)}/bulkdata/0040A160`,
      `${node.dicomWebUrl}${urlOf(cr)}/frames/1`,
    ]);
    expect(parts[0].bytes.toString('utf8')).toBe(longText);
    expect(parts[1].bytes.equals(pixelsOf(cr))).toBe(true);
    const frames = await partsOf(await get(`/studies/${ct[0].studyInstanceUID}`, accept));
    expect(frames.map(({ bytes }, index) => bytes.equals(pixelsOf(ct[index])))).toEqual([true, true, true]);
    expect((await get(urlOf(cr), 'application/octet-stream')).status).toBe(406);
  });

  test.each([
    [undefined, 'application/octet-stream', explicitLittleEndian],
    ['multipart/related; type="application/octet-stream"', 'application/octet-stream', explicitLittleEndian],
    [
      'multipart/related; type=application/octet-stream; transfer-syntax=*',
      'application/octet-stream',
      explicitLittleEndian,
    ],
    ['multipart/related; type="image/jls"', 'image/jls', transferSyntaxes.jpegLS],
    [
      `multipart/related; type="image/jls"; transfer-syntax=${transferSyntaxes.jpegLS}`,
      'image/jls',
      transferSyntaxes.jpegLS,
    ],
    ['multipart/related; type="*/*"; transfer-syntax=*', 'image/jls', transferSyntaxes.jpegLS],
    [
      'multipart/related; type="image/jp2", application/octet-stream;q=0.1',
      'application/octet-stream',
      explicitLittleEndian,
    ],
  ])('frames for a client that accepts %s', async (accept, type, transferSyntax) => {
    const answer = await get(`${urlOf(ct[1])}/frames/1`, accept);
    expect(answer.status).toBe(200);
    if (accept?.includes('q=0.1')) {
      expect(Buffer.from(await answer.arrayBuffer()).equals(pixelsOf(ct[1]))).toBe(true);
      return;
    }
    const [part] = await partsOf(answer);
    expect(part.type).toBe(`${type}; transfer-syntax=${transferSyntax}`);
    expect(part.bytes.equals(pixelsOf(ct[1]))).toBe(type === 'application/octet-stream');
  });

  test.each([
    ['/frames/2', undefined, 404],
    ['/frames/0', undefined, 400],
    ['/frames/1,x', undefined, 400],
    ['/frames/1', 'video/mp4', 406],
    ['/frames/1', 'multipart/related; type="image/jls"; transfer-syntax=1.2.840.10008.1.2.4.81', 406],
    ['/rendered?window=40', undefined, 400],
    ['/rendered?window=40,400,cubic', undefined, 400],
    ['/rendered?quality=101', undefined, 400],
    ['/rendered?viewport=0,10', undefined, 400],
    ['/rendered?viewport=64,64,70,0,20,10', undefined, 400],
    ['/rendered', 'image/gif', 406],
  ])('%s for %s is answered %s', async (path, accept, status) => {
    expect((await get(`${urlOf(ct[0])}${path}`, accept)).status).toBe(status);
  });

  test('pictures have the window, the viewport and the quality that are asked for', async () => {
    const picture = async (parameters: string, accept = 'image/png') => {
      const answer = await get(`${urlOf(ct[0])}/rendered${parameters}`, accept);
      expect([parameters, answer.status]).toEqual([parameters, 200]);
      return Buffer.from(await answer.arrayBuffer());
    };
    const raw = async (parameters: string) =>
      sharp(await picture(parameters))
        .greyscale()
        .raw()
        .toBuffer();
    // Stored values are HU + 1024; the window functions are those of PS3.3 C.11.2.1.
    const expected = (grey: (hu: number) => number) =>
      Buffer.from(
        Array.from(ct[0].pixels as Uint16Array, (stored) =>
          Math.round(255 * Math.min(Math.max(grey(stored - 1024), 0), 1)),
        ),
      );
    expect((await raw('?window=0,500,linear')).equals(expected((x) => (x + 0.5) / 499 + 0.5))).toBe(true);
    expect((await raw('?window=0,500,linear-exact')).equals(expected((x) => x / 500 + 0.5))).toBe(true);
    expect(
      (await raw('?window=0,500,sigmoid')).equals(expected((x) => 1 / (1 + Math.exp((-4 * x) / 500)))),
    ).toBe(true);

    const sizes = async (parameters: string) => {
      const { width, height } = await sharp(await picture(parameters)).metadata();
      return [width, height];
    };
    expect(await sizes('')).toEqual([80, 64]);
    expect(await sizes('?viewport=40,40')).toEqual([40, 32]);
    expect(await sizes('?viewport=20,10,10,5,20,10')).toEqual([20, 10]);
    const whole = await raw('');
    const flipped = await raw('?viewport=80,64,0,0,-80,64');
    expect(flipped[79]).toBe(whole[0]);
    expect(flipped.equals(whole)).toBe(false);
    const [coarse, fine] = await Promise.all(
      ['?quality=5', '?quality=95'].map((quality) => picture(quality, 'image/jpeg')),
    );
    expect(coarse.length).toBeLessThan(fine.length);
  });

  test('a series is rendered picture by picture, a study has a thumbnail', async () => {
    const series = `/studies/${ct[0].studyInstanceUID}/series/${ct[0].seriesInstanceUID}`;
    const pictures = await partsOf(await get(`${series}/rendered`, 'multipart/related; type="image/jpeg"'));
    expect(pictures.map(({ type }) => type)).toEqual(Array(3).fill('image/jpeg'));
    expect((await get(`${series}/rendered`, 'image/jpeg')).status).toBe(406);
    for (const path of [
      `/studies/${ct[0].studyInstanceUID}`,
      series,
      urlOf(ct[0]),
      `${urlOf(ct[0])}/frames/1`,
    ]) {
      const thumbnail = await get(`${path}/thumbnail`);
      const { format, width } = await sharp(Buffer.from(await thumbnail.arrayBuffer())).metadata();
      expect([path, format, width]).toEqual([path, 'jpeg', 128]);
    }
  });
});

describe('store', () => {
  const asStored = 'multipart/related; type="application/dicom"; transfer-syntax=*';

  test('an object that differs from the one under its UID is told by a warning, and the first stays', async () => {
    const changed = Buffer.from(cr.bytes);
    changed[changed.length - 1] ^= 1;
    const same = await stow(node.dicomWebUrl, [cr.bytes]);
    expect(same.status).toBe(200);
    const other = await stow(node.dicomWebUrl, [changed]);
    expect(other.status).toBe(202);
    const [item] = ((await other.json()) as DicomJson)['00081199'].Value as DicomJson[];
    expect(valueOf(item, '00081196')).toBe(0xb000);
    const stored = await get(urlOf(cr), 'application/dicom; transfer-syntax=*');
    expect(Buffer.from(await stored.arrayBuffer()).equals(cr.bytes)).toBe(true);
  });

  test('of two objects with one UID in a request, the first is stored, and the others with it', async () => {
    const pair = await writeCTSeries(join(folder, 'twice'), { name: 'Twice', slices: 2 });
    const changed = Buffer.from(pair[0].bytes);
    changed[changed.length - 1] ^= 1;
    const answer = await stow(node.dicomWebUrl, [pair[0].bytes, changed, pair[1].bytes, pair[1].bytes]);
    expect(answer.status).toBe(202);
    const stored = ((await answer.json()) as DicomJson)['00081199'].Value as DicomJson[];
    expect(stored.map((item) => valueOf(item, '00081196'))).toEqual([
      undefined,
      0xb000,
      undefined,
      undefined,
    ]);
    const parts = await partsOf(await get(`/studies/${pair[0].studyInstanceUID}`, asStored));
    expect(parts.map(({ bytes }) => bytes.equals(pair[0].bytes))).toEqual([true, false]);
    expect(parts[1].bytes.equals(pair[1].bytes)).toBe(true);
  });

  test('large objects come back as they were sent, also to a slow receiver', async () => {
    const large = await writeCTSeries(join(folder, 'large'), {
      name: 'Large',
      slices: 24,
      rows: 512,
      columns: 512,
    });
    const sent = await stow(
      node.dicomWebUrl,
      large.map(({ bytes }) => bytes),
    );
    expect(sent.status).toBe(200);
    const answer = await get(`/studies/${large[0].studyInstanceUID}`, asStored);
    await sleep(1000); // the node has filled all buffers on the way
    const parts = await partsOf(answer);
    expect(parts.map(({ bytes }, i) => bytes.equals(large[i].bytes))).toEqual(large.map(() => true));
  }, 300_000);

  test('a single object needs no multipart message', async () => {
    const answer = await fetch(`${node.dicomWebUrl}/studies`, {
      method: 'POST',
      headers: { 'content-type': 'application/dicom' },
      body: ct[0].bytes.slice().buffer,
    });
    expect(answer.status).toBe(200);
  });

  test('what came whole before the message broke off is stored, and the rest is told', async () => {
    const [late] = await writeCTSeries(join(folder, 'late'), { name: 'Late', slices: 1 });
    const boundary = 'b0undary';
    const head = `\r\n--${boundary}\r\nContent-Type: application/dicom\r\n\r\n`;
    const answer = await fetch(`${node.dicomWebUrl}/studies`, {
      method: 'POST',
      headers: { 'content-type': `multipart/related; type="application/dicom"; boundary=${boundary}` },
      body: Buffer.concat([Buffer.from(head), late.bytes, Buffer.from(head), late.bytes.subarray(0, 5000)]),
    });
    expect(answer.status).toBe(202);
    const body = (await answer.json()) as DicomJson;
    expect(body['00081199'].Value).toHaveLength(1);
    expect(body['0008119A'].Value).toEqual([{ '00081197': { vr: 'US', Value: [0xc000] } }]);
  });
});

describe('the service', () => {
  test('tells its resources, and each of them is there', async () => {
    const answer = await fetch(`${node.dicomWebUrl}/`, {
      method: 'OPTIONS',
      headers: { accept: 'application/json' },
    });
    expect(await answer.json()).toEqual(capabilities);
    const wadl = await (await get('/capabilities', 'application/vnd.sun.wadl+xml')).text();
    expect(wadl.match(/<resource /g)).toHaveLength(capabilities.length);
    const ids = wadl.match(/ id="[A-Za-z][\w-]*"/g)!;
    expect(ids).toHaveLength(wadl.match(/<method /g)!.length);
    expect(new Set(ids).size).toBe(ids.length);
    const { studyInstanceUID: study, seriesInstanceUID: series, sopInstanceUID: instance } = ct[0];
    const values: Record<string, string> = { study, series, instance, frames: '1', path: '7FE00010' };
    for (const { path, methods } of capabilities.filter(({ methods }) => methods.GET)) {
      const filled = path.replace(/\{(\w+)\}/g, (_, name: string) => values[name]);
      const { produces } = methods.GET!;
      expect([path, (await get(filled, produces!.join(', '))).status]).toEqual([path, 200]);
    }
  });

  test('is open to pages of the origins in the settings only', async () => {
    const headers = (from: string) => ({ origin: from, 'access-control-request-method': 'GET' });
    const allowed = async (from: string) => {
      const answer = await fetch(`${node.dicomWebUrl}/studies`, {
        method: 'OPTIONS',
        headers: headers(from),
      });
      return answer.headers.get('access-control-allow-origin');
    };
    expect(await allowed(origin)).toBe(origin);
    expect(await allowed('https://evil.example.org')).toBeNull();
  });

  test('is not there under the name of another host', async () => {
    const status = (host: string) =>
      new Promise<number | undefined>((resolve, reject) => {
        const url = new URL(`${node.dicomWebUrl}/studies`);
        httpRequest(url, { headers: { host } }, (answer) => {
          answer.resume();
          resolve(answer.statusCode);
        })
          .on('error', reject)
          .end();
      });
    expect(await status(`localhost:${new URL(node.url).port}`)).toBe(200);
    expect(await status('evil.example.org')).toBe(421);
  });

  test('deletes where the settings permit it', async () => {
    const [gone] = await writeCTSeries(join(folder, 'gone'), { name: 'Gone', slices: 2 });
    await stow(node.dicomWebUrl, [gone.bytes]);
    const remove = () => fetch(`${node.dicomWebUrl}/studies/${gone.studyInstanceUID}`, { method: 'DELETE' });
    expect((await remove()).status).toBe(204);
    expect((await remove()).status).toBe(404);
    expect(await search(`/studies?StudyInstanceUID=${gone.studyInstanceUID}`)).toHaveLength(0);
  });
});

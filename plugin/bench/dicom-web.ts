import { randomUUID } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { Agent, request } from 'undici';
import { writeCTSeries } from '../../fixtures/dicom-series.ts';
import { startNodeProcess } from '../../fixtures/node-process.ts';
import { startOrthanc } from '../../fixtures/orthanc.ts';
import { parseMediaType } from '../dicomweb/media-type.ts';
import { boundaryOf, readParts, writeParts } from '../dicomweb/multipart.ts';

/** What one server did with a study that is sent and fetched in one request each, and with single objects. */
export interface DicomWebBench {
  server: 'qfae' | 'orthanc';
  round: number;
  stowMBPerSecond: number;
  wadoMBPerSecond: number;
  /** Until the first bytes of the study come, in milliseconds. */
  wadoFirstByteMs: number;
  /** One object in a request, median and 95th percentile, in milliseconds. */
  stowMs: number;
  stowMs95: number;
  wadoMs: number;
  wadoMs95: number;
  /** Metadata of the whole study, in milliseconds. */
  metadataMs: number;
  /** Resident memory before the first request, and the largest rise above it while a study came and went. */
  idleBytes: number;
  stowRiseBytes: number;
  wadoRiseBytes: number;
  /** Of the server, in all its threads, while the study came and went: other programs disturb these less. */
  stowCpuSeconds: number;
  wadoCpuSeconds: number;
}

interface Server {
  name: DicomWebBench['server'];
  dicomWebUrl: string;
  pid: number;
  stop(): Promise<void>;
}

/** Of the images: rows and columns, 16 bits a pixel. */
const side = 512;
/** Single requests whose latency is measured. */
const singles = 40;

/** STOW-RS and WADO-RS of the node and of the Orthanc that is installed here, in turn. */
export async function benchDicomWeb(options: {
  megabytes: number;
  rounds: number;
}): Promise<DicomWebBench[]> {
  const template = await templateObject();
  const instances = Math.ceil((options.megabytes * 1e6) / template.bytes.length);
  const orthanc = await startOrthanc();
  const node = await startNodeProcess({ QFAE_ARRIVAL_QUIET_SECONDS: '86400', QFAE_LOG_LEVEL: 'warn' });
  const servers: Server[] = [
    { name: 'qfae', dicomWebUrl: node.dicomWebUrl, pid: node.process.pid!, stop: () => node.stop() },
    { name: 'orthanc', dicomWebUrl: orthanc.dicomWebUrl, pid: orthanc.pid, stop: () => orthanc.stop() },
  ];
  try {
    const idle = new Map<string, number>();
    for (const { name, pid } of servers) idle.set(name, await residentMemory(pid, 'VmRSS'));
    const results: DicomWebBench[] = [];
    for (let round = 1; round <= options.rounds; round++) {
      for (const server of servers) {
        results.push({
          server: server.name,
          round,
          ...(await benchServer(server, template, instances, round, idle.get(server.name)!)),
        });
      }
    }
    return results;
  } finally {
    for (const server of servers) await server.stop();
  }
}

/** A CT image whose UIDs have places of fixed length, so that copies of it are made by changing digits. */
interface Template {
  bytes: Uint8Array;
  study(number: number): {
    uid: string;
    seriesUID: string;
    instanceUID(index: number): string;
    objects(count: number): Iterable<Uint8Array>;
  };
}

async function templateObject(): Promise<Template> {
  const folder = await mkdtemp(join(tmpdir(), 'qfae-bench-'));
  const blank = {
    study: '1.2.826.0.1.1000000',
    series: '1.2.826.0.2.1000000',
    instance: '1.2.826.0.3.1000000.1000000',
  };
  try {
    const [{ bytes }] = await writeCTSeries(folder, {
      rows: side,
      columns: side,
      slices: 1,
      attributes: {
        StudyInstanceUID: blank.study,
        SeriesInstanceUID: blank.series,
        SOPInstanceUID: blank.instance,
      },
    });
    const places = Object.values(blank).map((uid) => placesOf(bytes, uid));
    return {
      bytes,
      study(number) {
        const numbered = (uid: string) => uid.replaceAll('1000000', String(1_000_000 + number));
        const instanceUID = (index: number) => `${numbered(blank.instance).slice(0, -7)}${1_000_000 + index}`;
        return {
          uid: numbered(blank.study),
          seriesUID: numbered(blank.series),
          instanceUID,
          *objects(count) {
            for (let index = 0; index < count; index++) {
              const copy = Buffer.from(bytes);
              const uids = [numbered(blank.study), numbered(blank.series), instanceUID(index)];
              uids.forEach((uid, i) => {
                for (const place of places[i]) copy.write(uid, place, 'latin1');
              });
              yield copy;
            }
          },
        };
      },
    };
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** Offsets at which `text` stands in the file's header or meta information. */
function placesOf(bytes: Uint8Array, text: string): number[] {
  const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const places = [];
  for (let at = file.indexOf(text); at >= 0; at = file.indexOf(text, at + 1)) places.push(at);
  return places;
}

async function benchServer(
  { dicomWebUrl, pid }: Server,
  template: Template,
  instances: number,
  round: number,
  idleBytes: number,
): Promise<Omit<DicomWebBench, 'server' | 'round'>> {
  const study = template.study(2 * round);
  const dispatcher = new Agent({ headersTimeout: 0, bodyTimeout: 0 });
  const megabytes = (instances * template.bytes.length) / 1e6;
  const store = async (objects: Iterable<Uint8Array>) => {
    const boundary = randomUUID();
    const parts = (function* () {
      for (const bytes of objects) yield { contentType: 'application/dicom', body: [bytes] };
    })();
    const answer = await request(`${dicomWebUrl}/studies`, {
      method: 'POST',
      headers: {
        'content-type': `multipart/related; type="application/dicom"; boundary=${boundary}`,
        accept: 'application/dicom+json',
      },
      body: Readable.from(writeParts(parts, boundary), { objectMode: false }),
      dispatcher,
    });
    const body = await answer.body.text();
    if (answer.statusCode !== 200)
      throw new Error(`STOW-RS was answered ${answer.statusCode}: ${body.slice(0, 500)}`);
  };
  const get = (path: string, accept: string) =>
    request(`${dicomWebUrl}${path}`, { headers: { accept }, dispatcher });
  const asStored = 'multipart/related; type="application/dicom"; transfer-syntax=*';

  await clearPeak(pid);
  let cpuBefore = await cpuSeconds(pid);
  const stow = await seconds(() => store(study.objects(instances)));
  const stowCpuSeconds = (await cpuSeconds(pid)) - cpuBefore;
  const stowRiseBytes = (await residentMemory(pid, 'VmHWM')) - idleBytes;

  await clearPeak(pid);
  cpuBefore = await cpuSeconds(pid);
  let wadoFirstByteMs = 0;
  const wado = await seconds(async () => {
    const start = performance.now();
    const answer = await get(`/studies/${study.uid}`, asStored);
    const mediaType = parseMediaType(answer.headers['content-type'] as string)!;
    let parts = 0;
    for await (const part of readParts(answer.body, boundaryOf(mediaType))) {
      if (parts++ === 0) wadoFirstByteMs = performance.now() - start;
      await finished(part.body.resume());
    }
    if (parts !== instances) throw new Error(`${parts} of ${instances} instances were retrieved`);
  });
  const wadoCpuSeconds = (await cpuSeconds(pid)) - cpuBefore;
  const wadoRiseBytes = (await residentMemory(pid, 'VmHWM')) - idleBytes;
  const metadata = await seconds(async () => {
    await (await get(`/studies/${study.uid}/metadata`, 'application/dicom+json')).body.text();
  });

  const other = template.study(2 * round + 1);
  const stowTimes = [];
  for (const bytes of other.objects(singles)) stowTimes.push(await seconds(() => store([bytes])));
  const wadoTimes = [];
  for (let index = 0; index < singles; index++) {
    const path = `/studies/${other.uid}/series/${other.seriesUID}/instances/${other.instanceUID(index)}`;
    wadoTimes.push(
      await seconds(async () => {
        await (await get(path, asStored)).body.arrayBuffer();
      }),
    );
  }
  await dispatcher.close();
  return {
    stowMBPerSecond: megabytes / stow,
    wadoMBPerSecond: megabytes / wado,
    wadoFirstByteMs,
    stowMs: 1000 * quantile(stowTimes, 0.5),
    stowMs95: 1000 * quantile(stowTimes, 0.95),
    wadoMs: 1000 * quantile(wadoTimes, 0.5),
    wadoMs95: 1000 * quantile(wadoTimes, 0.95),
    metadataMs: 1000 * metadata,
    idleBytes,
    stowRiseBytes,
    wadoRiseBytes,
    stowCpuSeconds,
    wadoCpuSeconds,
  };
}

async function seconds(work: () => Promise<void>): Promise<number> {
  const start = process.hrtime.bigint();
  await work();
  return Number(process.hrtime.bigint() - start) / 1e9;
}

function quantile(values: number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(Math.floor(share * sorted.length), sorted.length - 1)];
}

/** `VmRSS` now or `VmHWM` at most since `clearPeak`, in bytes (Linux, proc(5)). */
async function residentMemory(pid: number, which: 'VmRSS' | 'VmHWM'): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return 1024 * Number(new RegExp(`${which}:\\s+(\\d+)`).exec(status)?.[1]);
}

/** User and system time of a process (Linux, proc(5): fields 14 and 15, in hundredths of a second). */
async function cpuSeconds(pid: number): Promise<number> {
  const fields = (await readFile(`/proc/${pid}/stat`, 'utf8')).split(') ')[1].split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** Forgets the peak of a process's resident memory. */
function clearPeak(pid: number): Promise<void> {
  return writeFile(`/proc/${pid}/clear_refs`, '5');
}

import { randomUUID } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import * as dicomweb from 'dicomweb-client';
import { fetch, type Agent, type RequestInit, type Response } from 'undici';
import type { DicomJson } from '../../dicom/dicom-json.ts';
import type { ResultObject } from '../../dicom/result.ts';
import { parseMediaType } from '../dicomweb/media-type.ts';
import { boundaryOf, readParts, writeParts } from '../dicomweb/multipart.ts';
import { http1Agent } from '../http/http1-agent.ts';
import { PartlyStoredError, type Archive, type InstanceReference, type StudyReference } from './archive.ts';
import { FetchRequest } from './fetch-request.ts';

/** How to reach a DICOMweb server. */
export interface DicomWebAddress {
  name: string;
  /** Root of the DICOMweb service. */
  url: string;
  /** Sent with every request: authorization, for one. */
  headers: Record<string, string>;
  /** A server that says nothing for this long has failed. */
  timeoutMs: number;
}

/** The header that carries credentials: of a token, or of username and password; none if neither is given. */
export function authorization(credentials: {
  username?: string | undefined;
  password?: string | undefined;
  token?: string | undefined;
}): Record<string, string> {
  const { username, password = '', token } = credentials;
  if (token !== undefined) return { authorization: `Bearer ${token}` };
  if (username === undefined) return {};
  return { authorization: `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}` };
}

/** The client's searches; its own types name a browser's XMLHttpRequest. */
interface SearchClient {
  searchForInstances(options: Search): Promise<DicomJson[]>;
  searchForStudies(options: Search): Promise<DicomJson[]>;
}

interface Search {
  studyInstanceUID?: string;
  queryParams?: Record<string, string>;
  request: { instance: FetchRequest };
}

const numberOfStudyRelatedInstances = '00201208';
const instancesAtOnce = 1000;

/** An archive behind DICOMweb: QIDO-RS to ask, WADO-RS to fetch, STOW-RS to store (PS3.18 chapter 10). */
export class DicomWebArchive implements Archive {
  readonly name: string;
  readonly #address: DicomWebAddress;
  readonly #client: SearchClient;
  readonly #dispatcher: Agent;

  constructor(address: DicomWebAddress) {
    this.name = address.name;
    this.#address = address;
    this.#dispatcher = http1Agent(address.timeoutMs);
    const { url, headers } = address;
    this.#client = new dicomweb.api.DICOMwebClient({
      url,
      headers,
      verbose: false,
    } as never) as unknown as SearchClient;
  }

  /**
   * A server may answer with fewer than it has and than it was asked for (PS3.18 section 8.3.4.4), so it is asked until
   * nothing new comes; so does one that knows no paging.
   */
  async instances(studyInstanceUID: string): Promise<InstanceReference[]> {
    const found = new Map<string, InstanceReference>();
    for (let before = -1; found.size > before;) {
      before = found.size;
      const page = await this.#search('searchForInstances', {
        studyInstanceUID,
        queryParams: { limit: String(instancesAtOnce), offset: String(before) },
      });
      for (const attributes of page) {
        const sopInstanceUID = uidAt(attributes, '00080018');
        found.set(sopInstanceUID, {
          sopInstanceUID,
          seriesInstanceUID: uidAt(attributes, '0020000E'),
          sopClassUID: uidAt(attributes, '00080016'),
        });
      }
    }
    return [...found.values()];
  }

  /**
   * One page of the studies that match a query (PS3.18 section 10.6). A server may give fewer than the limit where it
   * has more (section 8.3.4.4).
   *
   * @param query matching keys by keyword or tag
   */
  async studies(
    query: Record<string, string>,
    page: { limit: number; offset: number },
  ): Promise<StudyReference[]> {
    const found = await this.#search('searchForStudies', {
      queryParams: {
        ...query,
        includefield: numberOfStudyRelatedInstances,
        limit: String(page.limit),
        offset: String(page.offset),
      },
    });
    return found.map(studyReferenceOf);
  }

  async #search(method: keyof SearchClient, options: Omit<Search, 'request'>): Promise<DicomJson[]> {
    const request = new FetchRequest(this.#dispatcher);
    const found = await this.#client[method]({ ...options, request: { instance: request } }).catch(() => {
      throw new Error(`${this.name}: search failed: ${reasonOf(request)}`, { cause: request.failure });
    });
    return Array.isArray(found) ? found : []; // an answer without a body: nothing matches
  }

  async header(studyInstanceUID: string, instance: InstanceReference): Promise<DicomJson> {
    const { seriesInstanceUID, sopInstanceUID } = instance;
    const answer = await this.#fetch(
      `/studies/${studyInstanceUID}/series/${seriesInstanceUID}/instances/${sopInstanceUID}/metadata`,
      { headers: { accept: 'application/dicom+json' } },
    );
    if (answer.status !== 200) {
      await answer.body?.cancel();
      throw new Error(`${this.name}: metadata of ${sopInstanceUID} was answered ${answer.status}`);
    }
    const [dataset] = (await answer.json()) as DicomJson[];
    if (!dataset) throw new Error(`${this.name}: metadata of ${sopInstanceUID} is empty`);
    return dataset;
  }

  async retrieve(studyInstanceUID: string, seriesInstanceUID: string, folder: string): Promise<string[]> {
    const answer = await this.#fetch(`/studies/${studyInstanceUID}/series/${seriesInstanceUID}`, {
      headers: { accept: 'multipart/related; type="application/dicom"; transfer-syntax=*' },
    });
    const mediaType = parseMediaType(answer.headers.get('content-type') ?? undefined);
    if (answer.status !== 200 || !mediaType || !answer.body) {
      await answer.body?.cancel();
      throw new Error(`${this.name}: retrieving series ${seriesInstanceUID} was answered ${answer.status}`);
    }
    const files: string[] = [];
    const body = Readable.fromWeb(answer.body);
    try {
      for await (const part of readParts(body, boundaryOf(mediaType))) {
        const file = join(folder, `${randomUUID()}.dcm`);
        await pipeline(part.body, createWriteStream(file));
        files.push(file);
      }
    } finally {
      body.destroy();
    }
    return files;
  }

  async store(objects: ResultObject[]): Promise<void> {
    if (objects.length === 0) return;
    const boundary = randomUUID();
    const parts = objects.map(({ bytes }) => ({ contentType: 'application/dicom', body: [bytes] }));
    const answer = await this.#fetch('/studies', {
      method: 'POST',
      headers: {
        'content-type': `multipart/related; type="application/dicom"; boundary=${boundary}`,
        accept: 'application/dicom+json',
      },
      body: Readable.from(writeParts(parts, boundary), { objectMode: false }),
      duplex: 'half',
    });
    // Servers differ in the status of a request of which a part failed; the body says what is stored.
    const body = await answer.json().catch(() => ({}));
    const stored = new Set(
      (((body as DicomJson)['00081199']?.Value ?? []) as DicomJson[]).map((item) => uidAt(item, '00081155')),
    );
    const missing = objects.filter(({ sopInstanceUID }) => !stored.has(sopInstanceUID));
    if (missing.length > 0) {
      throw new PartlyStoredError(
        `${this.name}: storing was answered ${answer.status}; ${missing.length} of ${objects.length} objects were not stored, first ${missing[0].sopInstanceUID}`,
        objects.filter(({ sopInstanceUID }) => stored.has(sopInstanceUID)),
      );
    }
  }

  get(path: string, accept: string, signal: AbortSignal): Promise<Response> {
    // As it stands, so that its length is that of what comes.
    return this.#fetch(path, { headers: { accept, 'accept-encoding': 'identity' }, signal });
  }

  close(): Promise<void> {
    return this.#dispatcher.destroy();
  }

  /** DICOMweb has no deletion that every server knows. */
  remove(_study: string, _objects: InstanceReference[]): Promise<boolean> {
    return Promise.resolve(false);
  }

  async #fetch(path: string, init: Omit<RequestInit, 'headers'> & { headers: Record<string, string> }) {
    try {
      return await fetch(`${this.#address.url}${path}`, {
        ...init,
        headers: { ...this.#address.headers, ...init.headers },
        dispatcher: this.#dispatcher,
      });
    } catch (error) {
      throw new Error(`${this.name}: ${(error as Error).message}: ${causeOf(error)}`, { cause: error });
    }
  }
}

/** What an answer of QIDO-RS says of a study. @throws Error if it lacks the StudyInstanceUID. */
export function studyReferenceOf(attributes: DicomJson): StudyReference {
  const text = (tag: string) => {
    const value = attributes[tag]?.Value?.[0];
    return typeof value === 'string' ? value : '';
  };
  const instances = Number(attributes[numberOfStudyRelatedInstances]?.Value?.[0] ?? NaN);
  return {
    studyInstanceUID: uidAt(attributes, '0020000D'),
    studyDate: text('00080020'),
    studyTime: text('00080030'),
    timezoneOffset: text('00080201'),
    instances: Number.isInteger(instances) ? instances : undefined,
  };
}

function uidAt(attributes: DicomJson, tag: string): string {
  const value = attributes[tag]?.Value?.[0];
  if (typeof value !== 'string') throw new Error(`an answer without (${tag.slice(0, 4)},${tag.slice(4)})`);
  return value;
}

function reasonOf(request: FetchRequest): string {
  return request.status === 0 ? causeOf(request.failure) : `status ${request.status}`;
}

/** `fetch` hides what went wrong behind "fetch failed". */
export function causeOf(error: unknown): string {
  const cause = error instanceof Error ? (error.cause ?? error) : error;
  return cause instanceof Error ? ((cause as NodeJS.ErrnoException).code ?? cause.message) : String(cause);
}

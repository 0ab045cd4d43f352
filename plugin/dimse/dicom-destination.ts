import type { Socket } from 'node:net';
import type { requests, responses } from 'dcmjs-dimse';
import { explicitLittleEndian } from '../../dicom/reading/transfer-syntax.ts';
import type { ResultObject } from '../../dicom/result.ts';
import { dataSetOffset } from '../../dicom/writing/file-head.ts';
import { PartlyStoredError, type Destination, type InstanceReference } from '../archive/archive.ts';
import type { ArchiveSettings } from '../settings.ts';
import dimse from './library.ts';

const { Client, Dataset } = dimse;
const { PresentationContext } = dimse.association;
const { CFindRequest, CStoreRequest } = dimse.requests;
const { Status } = dimse.constants;

type DicomAddress = Extract<ArchiveSettings, { type: 'dicom' }>;

/** A receiver of C-STORE (PS3.4 annex B). Whether it has the objects is asked by C-FIND, where it answers that. */
export class DicomDestination implements Destination {
  readonly name: string;
  readonly #address: DicomAddress;
  readonly #clients = new Set<InstanceType<typeof Client>>();

  constructor(name: string, address: DicomAddress) {
    this.name = name;
    this.#address = address;
  }

  async store(objects: ResultObject[]): Promise<void> {
    if (objects.length === 0) return;
    const statuses = new Map<string, number>();
    const stores = objects.map((object) => {
      const request = new CStoreRequest(new EncodedDataset(object));
      request.on('response', (response: responses.CStoreResponse) => {
        statuses.set(object.sopInstanceUID, response.getStatus());
      });
      return request;
    });
    let failure: unknown;
    try {
      await this.#associate(
        stores,
        objects.map(({ sopClassUID }) => sopClassUID),
      );
    } catch (error) {
      failure = error;
    }
    const stored = objects.filter(({ sopInstanceUID }) => isStored(statuses.get(sopInstanceUID)));
    if (stored.length === objects.length) return;
    const [first] = objects.filter((object) => !stored.includes(object));
    const status = statuses.get(first.sopInstanceUID)?.toString(16).padStart(4, '0').toUpperCase();
    const why =
      failure instanceof Error
        ? failure.message
        : status === undefined
          ? `SOP class ${first.sopClassUID} is not accepted in explicit VR little endian`
          : `answered with status ${status}`;
    throw new PartlyStoredError(
      `${this.name}: ${objects.length - stored.length} of ${objects.length} objects were not stored, first ${first.sopInstanceUID}: ${why}`,
      stored,
      { cause: failure },
    );
  }

  async instances(studyInstanceUID: string): Promise<InstanceReference[] | undefined> {
    const series = await this.#find('SERIES', { StudyInstanceUID: studyInstanceUID, SeriesInstanceUID: '' });
    if (!series) return undefined;
    const found: InstanceReference[] = [];
    for (const { SeriesInstanceUID: seriesInstanceUID } of series) {
      const images = await this.#find('IMAGE', {
        StudyInstanceUID: studyInstanceUID,
        SeriesInstanceUID: seriesInstanceUID,
        SOPInstanceUID: '',
        SOPClassUID: '',
      });
      for (const { SOPInstanceUID, SOPClassUID } of images ?? []) {
        found.push({ sopInstanceUID: SOPInstanceUID, seriesInstanceUID, sopClassUID: SOPClassUID });
      }
    }
    return found;
  }

  /** DIMSE has no deletion. */
  remove(): Promise<boolean> {
    return Promise.resolve(false);
  }

  close(): Promise<void> {
    for (const client of this.#clients) networkOf(client)?.socket.destroy();
    return Promise.resolve();
  }

  /**
   * A query of the study root model (PS3.4 section C.6.2).
   *
   * @returns undefined if the peer does not offer it.
   * @throws Error if it fails.
   */
  async #find<Key extends string>(
    level: string,
    keys: Record<Key, string>,
  ): Promise<Record<Key, string>[] | undefined> {
    const found: Record<Key, string>[] = [];
    let status: number | undefined;
    const request = new CFindRequest();
    request.setDataset(new Dataset({ QueryRetrieveLevel: level, ...keys }));
    request.on('response', (response: responses.CFindResponse) => {
      status = response.getStatus();
      // FF01: pending as well, some keys were not supported.
      const pending = status === Status.Pending || status === 0xff01;
      if (pending) found.push(response.getDataset()!.getElements() as Record<Key, string>);
    });
    await this.#associate([request]);
    if (status === undefined || status === Status.SopClassNotSupported) return undefined;
    if (status !== Status.Success) {
      throw new Error(`${this.name}: query was answered with status ${status.toString(16).toUpperCase()}`);
    }
    return found;
  }

  /** Sends requests over one association; resolves when it is released. */
  async #associate(all: requests.Request[], sopClassUIDs: string[] = []): Promise<void> {
    const { aeTitle, host, port, callingAETitle, timeoutSeconds } = this.#address;
    const client = new Client();
    for (const request of all) client.addRequest(request);
    // A context of its own: in one with other syntaxes, the peer might choose implicit VR.
    for (const uid of new Set(sopClassUIDs)) {
      client.addAdditionalPresentationContext(new PresentationContext(0, uid, explicitLittleEndian), true);
    }
    this.#clients.add(client);
    try {
      await new Promise<void>((resolve, reject) => {
        const fail = (why: string) => {
          reject(new Error(`${aeTitle} at ${host}:${port}: ${why}`));
        };
        client.on('associationReleased', () => {
          resolve();
        });
        client.on('associationRejected', ({ source, reason }: { source: number; reason: number }) => {
          fail(`association rejected: ${rejection(source, reason)}`);
        });
        client.on('networkError', (error: Error) => {
          fail(error.message);
        });
        client.on('closed', () => {
          fail('connection closed before the association was released');
        });
        const timeout = timeoutSeconds * 1000;
        client.send(host, port, callingAETitle, aeTitle, {
          connectTimeout: timeout,
          associationTimeout: timeout,
          pduTimeout: timeout,
        });
        networkOf(client)?.on('abort', () => {
          fail('the peer aborted the association');
        });
      });
    } finally {
      this.#clients.delete(client);
      networkOf(client)?.socket.destroySoon();
    }
  }
}

/** A data set that is sent byte for byte, without being written anew. */
class EncodedDataset extends Dataset {
  readonly #bytes: Buffer;

  constructor({ sopClassUID, sopInstanceUID, bytes }: ResultObject) {
    super({ SOPClassUID: sopClassUID, SOPInstanceUID: sopInstanceUID }, explicitLittleEndian);
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).subarray(
      dataSetOffset(bytes),
    );
  }

  override getDenaturalizedDataset(): Buffer {
    return this.#bytes;
  }

  /** Asked for by the library where it would transcode: it would send what it finds here as the whole object. */
  override getElements(): never {
    throw new Error('an encoded data set is sent as it is');
  }
}

/** Success, or a warning: the object is stored (PS3.4 table B.2-1). */
function isStored(status: number | undefined): boolean {
  return status === Status.Success || (status !== undefined && status >> 12 === 0xb);
}

/** PS3.8 table 9-21. */
function rejection(source: number, reason: number): string {
  if (source === 1 && reason === 3) return 'it does not know our AE title';
  if (source === 1 && reason === 7) return 'it has another AE title';
  return `source ${source}, reason ${reason}`;
}

/** The connection of a client: the library neither tells that the peer aborted nor has a way to break it off. */
function networkOf(
  client: object,
): { socket: Socket; on(event: 'abort', listener: () => void): void } | undefined {
  return (client as { network?: ReturnType<typeof networkOf> }).network;
}

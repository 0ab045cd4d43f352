import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { join } from 'node:path';
import { finished } from 'node:stream/promises';
import type { association, requests, responses } from 'dcmjs-dimse';
import { auditDone } from '../access/audit-log.ts';
import { DicomError } from '../../dicom/reading/dicom-error.ts';
import { readableTransferSyntaxes } from '../../dicom/reading/transfer-syntax.ts';
import { isUID } from '../../dicom/uid.ts';
import { fileHead } from '../../dicom/writing/file-head.ts';
import { storageClasses, type StoreContext } from '../dicomweb/store.ts';
import { isOwnResult } from '../scoring/algorithm.ts';
import type { Settings } from '../settings.ts';
import { isDiskFull } from '../store/room.ts';
import { IncomingObject } from './incoming-object.ts';
import dimse from './library.ts';

const { Dataset, Scp } = dimse;
const { PresentationContextResult, RejectReason, RejectResult, RejectSource, SopClass, Status } =
  dimse.constants;
const { CEchoResponse, CStoreResponse } = dimse.responses;

/** Statuses of C-STORE (PS3.4 table B.2-1) that the library has no name for. */
const outOfResources = 0xa700;
const cannotUnderstand = 0xc000;

/** PDUs may be as long as this (PS3.8 D.1); a longer one ends the association. */
const maxPduBytes = 262_144;
/** So much may come between two objects: requests and releases are a few hundred bytes. */
const maxCommandBytes = 1024 * 1024;
/** A connection that has not asked for an association by then is closed. */
const requestTimeoutMs = 30_000;
/** Studies that the line of an association in the audit log names. */
const studiesEntered = 50;

/** What the receiver of C-STORE needs of the node. */
export interface StoreScpContext extends StoreContext {
  /** The data folder, for its audit log. */
  data: string;
}

/** A service that receives objects by C-STORE and answers C-ECHO. */
export interface StoreScp {
  port: number;
  /** Breaks off every association. */
  close(): Promise<void>;
}

/** Starts the Storage and Verification SCP (PS3.4 annexes A and B). */
export async function startStoreScp(
  context: StoreScpContext,
  settings: Settings['cStore'],
): Promise<StoreScp> {
  const associations = new Set<StoreAssociation>();
  const server = createServer((socket) => {
    const association = new StoreAssociation(socket, context, settings, associations.size);
    associations.add(association);
    socket.once('close', () => {
      associations.delete(association);
      association.closed();
    });
  });
  server.listen(settings.port, settings.host);
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    async close() {
      server.close();
      for (const { socket } of associations) socket.destroy();
      if (server.listening || associations.size > 0) await once(server, 'close');
    },
  };
}

/**
 * One association. An object goes to a file as it comes in, and the sender is slowed when the disk is slower; what
 * is parsed here are PDUs and commands only.
 */
class StoreAssociation extends Scp {
  declare readonly socket: Socket;
  readonly #context: StoreScpContext;
  readonly #settings: Settings['cStore'];
  readonly #others: number;
  readonly #address: string | undefined;
  #sourceAETitle = '';
  /** The object that is handed to the store. */
  #storing: Promise<unknown> = Promise.resolve();
  #stored = 0;
  #refused = 0;
  readonly #studies = new Set<string>();
  #incoming: IncomingObject | undefined;
  #commandBytes = 0;

  constructor(socket: Socket, context: StoreScpContext, settings: Settings['cStore'], others: number) {
    const timeout = settings.timeoutSeconds * 1000;
    super(socket, { connectTimeout: timeout, pduTimeout: timeout });
    this.#context = context;
    this.#settings = settings;
    this.#others = others;
    this.#address = socket.remoteAddress?.replace(/^::ffff:/, '');
    const waiting = setTimeout(() => {
      this.#end('no association was asked for');
    }, requestTimeoutMs);
    this.once('associationRequested', () => {
      clearTimeout(waiting);
    });
    socket.once('close', () => {
      clearTimeout(waiting);
    });
    this.on('networkError', (error: Error) => {
      this.#end(error.message);
    });
    const pdus = new PduLengths(maxPduBytes);
    socket.prependListener('data', (data: Buffer) => {
      if (!pdus.accept(data)) this.#end(`a PDU of more than ${maxPduBytes} bytes`);
    });
    socket.on('data', (data: Buffer) => {
      if (this.#incoming) {
        if (this.#incoming.isFull) socket.pause();
      } else if ((this.#commandBytes += data.length) > maxCommandBytes) {
        this.#end(`a command of more than ${maxCommandBytes} bytes`);
      }
    });
  }

  override associationRequested(requested: association.Association): void {
    const { aeTitle, senders, maxAssociations } = this.#settings;
    const calling = requested.getCallingAeTitle().trim();
    const address = this.#address;
    const refuse = (why: string, result: number, source: number, reason: number) => {
      this.#context.log.warn({ calling, address }, `association refused: ${why}`);
      this.#enter(calling, `association refused: ${why}`, 1);
      this.sendAssociationReject(result, source, reason);
      this.socket.end();
    };
    if (this.#others >= maxAssociations) {
      refuse(
        'there are too many',
        RejectResult.Transient,
        RejectSource.ServiceProviderPresentation,
        RejectReason.LocalLimitExceeded,
      );
    } else if (requested.getCalledAeTitle().trim() !== aeTitle) {
      refuse(
        'called by another AE title',
        RejectResult.Permanent,
        RejectSource.ServiceUser,
        RejectReason.CalledAeNotRecognized,
      );
    } else if (
      !senders.some(
        (sender) =>
          (sender.aeTitle === '*' || sender.aeTitle === calling) &&
          (sender.address === undefined || sender.address === address),
      )
    ) {
      refuse(
        'the sender is not among those allowed',
        RejectResult.Permanent,
        RejectSource.ServiceUser,
        RejectReason.CallingAeNotRecognized,
      );
    } else {
      this.#sourceAETitle = calling;
      for (const { context } of requested.getPresentationContexts()) negotiate(context);
      this.sendAssociationAccept();
    }
  }

  override associationReleaseRequested(): void {
    this.sendAssociationReleaseResponse();
    this.socket.end();
  }

  override abort(): void {
    this.#end('aborted by the sender');
  }

  override cEchoRequest(
    request: requests.CEchoRequest,
    answer: (response: responses.CEchoResponse) => void,
  ): void {
    this.#commandBytes = 0;
    const response = CEchoResponse.fromRequest(request);
    response.setStatus(Status.Success);
    answer(response);
  }

  override createStoreWritableStream(
    context: association.PresentationContext,
    request: requests.CStoreRequest,
  ): IncomingObject {
    const transferSyntaxUID = context.getAcceptedTransferSyntaxUid();
    const sopClassUID = request.getAffectedSopClassUid();
    const sopInstanceUID = request.getAffectedSopInstanceUid();
    if (
      context.getResult() !== PresentationContextResult.Accept ||
      transferSyntaxUID === undefined ||
      sopClassUID !== context.getAbstractSyntaxUid() ||
      !isUID(sopInstanceUID)
    ) {
      throw new Error('a C-STORE request that the association does not allow');
    }
    this.#commandBytes = 0;
    const file = join(this.#context.incoming, randomUUID());
    this.#incoming = new IncomingObject(file, this.#context.limits.instanceBytes, () => this.socket.resume());
    this.#incoming.write(
      fileHead({ sopClassUID, sopInstanceUID, transferSyntaxUID, sourceAETitle: this.#sourceAETitle }),
    );
    return this.#incoming;
  }

  /** The object lies in its file: nobody needs it parsed here. */
  override createDatasetFromStoreWritableStream(
    _object: IncomingObject,
    _context: association.PresentationContext,
    done: (dataset: InstanceType<typeof Dataset>) => void,
  ): void {
    done(new Dataset({}));
  }

  override cStoreRequest(
    request: requests.CStoreRequest,
    answer: (response: responses.CStoreResponse) => void,
  ): void {
    const object = this.#incoming!;
    this.#incoming = undefined;
    this.socket.pause(); // the next object is taken when this one is answered
    this.#storing = this.#store(object, request).then((status) => {
      const response = CStoreResponse.fromRequest(request);
      response.setStatus(status);
      if (!this.socket.destroyed) answer(response);
      this.socket.resume();
    });
  }

  /** Removes what has come of an object that was broken off, and enters the association into the audit log. */
  closed(): void {
    if (this.#incoming) {
      this.#context.log.warn({ calling: this.#sourceAETitle }, 'an object was broken off');
      void this.#incoming.discard();
      this.#incoming = undefined;
      this.#refused++;
    }
    if (this.#sourceAETitle === '') return;
    void this.#storing.then(() => {
      const studies = [...this.#studies].slice(0, studiesEntered).join(', ');
      this.#enter(
        this.#sourceAETitle,
        `C-STORE: ${this.#stored} stored, ${this.#refused} refused${studies && `; studies ${studies}`}`,
        this.#refused > 0 ? 1 : 0,
      );
    });
  }

  #enter(calling: string, what: string, outcome: number): void {
    const { data, log } = this.#context;
    auditDone(data, { who: calling, from: this.#address ?? null, what, outcome }, log);
  }

  /** Hands the object to the store; returns the status of the answer. */
  async #store(object: IncomingObject, request: requests.CStoreRequest): Promise<number> {
    const { limits, log, pool, room, store } = this.#context;
    const sopInstanceUID = request.getAffectedSopInstanceUid();
    const at = { calling: this.#sourceAETitle, sopInstanceUID };
    const refuse = (status: number, why: string) => {
      log.warn({ ...at, status: status.toString(16) }, `instance refused: ${why}`);
      this.#refused++;
      return status;
    };
    try {
      await finished(object);
      if ((await room.left()) <= 0) return refuse(outOfResources, 'the store is full');
      if (object.isTooLarge) {
        return refuse(outOfResources, `object of more than ${limits.instanceBytes} bytes`);
      }
      const header = await pool.readHeader(object.file);
      if (
        header.sopInstanceUID !== sopInstanceUID ||
        header.sopClassUID !== request.getAffectedSopClassUid()
      ) {
        return refuse(Status.DataSetSopClassMismatch, 'the object is another one than the request names');
      }
      const { added, scoring } = await store.add(object.file, header, {
        arrival: !isOwnResult(header.dataset),
        sourceAETitle: this.#sourceAETitle,
      });
      if (added === 'another is there') {
        // A warning would tell the sender that its object is kept, and may be deleted there (PS3.4 B.2.2).
        return refuse(Status.DuplicateSOPInstance, 'another is stored under its SOP Instance UID');
      }
      this.#stored++;
      this.#studies.add(header.studyInstanceUID);
      log.info({ ...at, studyInstanceUID: header.studyInstanceUID, scoring }, `instance ${added}`);
      return Status.Success;
    } catch (error) {
      const unreadable = error instanceof DicomError && !['timeout', 'worker'].includes(error.reason);
      const status = unreadable
        ? cannotUnderstand
        : isDiskFull(error)
          ? outOfResources
          : Status.ProcessingFailure;
      return refuse(status, (error as Error).message);
    } finally {
      await object.discard();
    }
  }

  #end(why: string): void {
    if (this.socket.destroyed) return;
    this.#context.log.warn({ calling: this.#sourceAETitle }, `association ended: ${why}`);
    this.socket.destroy();
  }
}

/** Accepts Verification, and Storage in the transfer syntax that can be read at the least cost. */
function negotiate(context: association.PresentationContext): void {
  const abstractSyntax = context.getAbstractSyntaxUid();
  if (abstractSyntax !== SopClass.Verification && !abstractSyntax.startsWith(storageClasses)) {
    context.setResult(PresentationContextResult.RejectAbstractSyntaxNotSupported);
    return;
  }
  const accepted = readableTransferSyntaxes.find((uid) => context.hasTransferSyntaxUid(uid));
  if (accepted === undefined) {
    context.setResult(PresentationContextResult.RejectTransferSyntaxesNotSupported);
  } else {
    context.setResult(PresentationContextResult.Accept, accepted);
  }
}

/** Follows the heads of PDUs through a stream (PS3.8 section 9.3.1: type, reserved, length in four bytes). */
class PduLengths {
  readonly #limit: number;
  readonly #head = Buffer.alloc(6);
  #headBytes = 0;
  #bodyLeft = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** False from the first PDU on that is longer than the limit. */
  accept(data: Buffer): boolean {
    let at = 0;
    while (at < data.length) {
      if (this.#bodyLeft > 0) {
        const taken = Math.min(this.#bodyLeft, data.length - at);
        this.#bodyLeft -= taken;
        at += taken;
        continue;
      }
      this.#head[this.#headBytes++] = data[at++];
      if (this.#headBytes < this.#head.length) continue;
      this.#headBytes = 0;
      this.#bodyLeft = this.#head.readUInt32BE(2);
      if (this.#bodyLeft > this.#limit) return false;
    }
    return true;
  }
}

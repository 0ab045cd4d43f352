import { readFile } from 'node:fs/promises';
import type { ResultObject } from '../../dicom/result.ts';
import {
  PartlyStoredError,
  verifyStored,
  type Destination,
  type InstanceReference,
} from '../archive/archive.ts';
import type { Database } from '../database/database.ts';
import type { Logger } from '../log.ts';
import type { StoredObject } from '../scoring/result-objects.ts';
import {
  acceptedObjects,
  forgetResultObjects,
  markAccepted,
  markRejected,
  recordResultObjects,
  resultObjectsOnStudy,
  type Scoring,
} from './scorings.ts';

/** Results that are sent to an archive in one request. */
const objectsPerRequest = 8;

/** One result on its way to one archive. */
export interface Delivery {
  database: Database;
  log: Logger;
  scoring: Scoring;
  destination: Destination;
  objects: StoredObject[];
  /** Called before each step. */
  enter: (step: 'store' | 'verify' | 'replace') => Promise<void>;
  /** The note that rejects objects (IHE IOCM), for an archive that deletes nothing. */
  rejectionNote: (rejected: InstanceReference[]) => ResultObject;
}

/**
 * Stores a result in an archive, sees by query that it is there, and takes back what it replaces. Only what the
 * archive does not have yet is sent: after a partial failure, the rest.
 */
export async function deliver(delivery: Delivery): Promise<void> {
  const { database, log, scoring, destination, objects, enter } = delivery;
  const { name } = destination;
  const names = new Set(objects.map(({ sopInstanceUID }) => sopInstanceUID));
  const ours = await resultObjectsOnStudy(database, name, scoring.studyInstanceUID);
  // Of the result before, and of attempts that did not come to their end.
  const obsolete = ours.filter(({ sopInstanceUID }) => !names.has(sopInstanceUID));
  await recordResultObjects(database, name, scoring, objects);

  await enter('store');
  const present =
    (await destination.instances(scoring.studyInstanceUID)) ??
    (await acceptedObjects(database, name, scoring));
  const there = new Set(present.map(({ sopInstanceUID }) => sopInstanceUID));
  const missing = objects.filter(({ sopInstanceUID }) => !there.has(sopInstanceUID));
  for (let i = 0; i < missing.length; i += objectsPerRequest) {
    await enter('store'); // between requests, another worker may have taken the job over
    const sent = await Promise.all(
      missing
        .slice(i, i + objectsPerRequest)
        .map(async ({ file, ...object }) => ({ ...object, bytes: await readFile(file) })),
    );
    await storeAndMark(delivery, sent);
  }

  await enter('verify');
  if (!(await verifyStored(destination, scoring.studyInstanceUID, objects))) {
    log.info(
      { archive: name },
      'the archive answers no query: its word is taken for it that it has the result',
    );
  }

  await enter('replace');
  if (obsolete.length === 0) return;
  if (await destination.remove(scoring.studyInstanceUID, obsolete)) {
    await forgetResultObjects(database, name, obsolete);
    return;
  }
  const note = delivery.rejectionNote(obsolete);
  await recordResultObjects(database, name, scoring, [note], 'note');
  await storeAndMark(delivery, [note]);
  await verifyStored(destination, scoring.studyInstanceUID, [note]);
  await markRejected(database, name, obsolete);
  log.info(
    { archive: name, objects: obsolete.length },
    'the archive deletes nothing: the old result is rejected',
  );
}

async function storeAndMark({ database, destination }: Delivery, objects: ResultObject[]): Promise<void> {
  try {
    await destination.store(objects);
  } catch (error) {
    if (error instanceof PartlyStoredError) await markAccepted(database, destination.name, error.stored);
    throw error;
  }
  await markAccepted(database, destination.name, objects);
}

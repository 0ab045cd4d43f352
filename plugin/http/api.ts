import { Router } from 'express';
import type { Database } from '../database/database.ts';
import { dicomWebPath } from '../dicomweb/router.ts';
import { worklist, type WorklistRow } from '../jobs/scorings.ts';
import { localArchiveName } from '../store/instance-store.ts';
import { version } from '../version.ts';

/** Studies that one answer holds at most. */
const worklistLimit = 500;

/** The JSON API below `/api/v1`. */
export function apiRouter(database: Database): Router {
  const router = Router();

  router.get('/node', (_request, response) => {
    response.json({ name: 'QFAE', version });
  });

  router.get('/studies', async (_request, response) => {
    response.json((await worklist(database, worklistLimit)).map(describe));
  });
  return router;
}

/**
 * A study as the worklist shows it; without anything that names the patient. Result objects have an address
 * where the node itself holds them.
 */
function describe({ archive, studyInstanceUID, state, results, ...scoring }: WorklistRow) {
  const { step, reason, bundle, score, requestedAt } = scoring;
  const study = `${dicomWebPath}/studies/${studyInstanceUID}`;
  return {
    archive,
    studyInstanceUID,
    status: state,
    step,
    reason,
    bundle,
    score,
    requestedAt,
    results: results.map((object) => ({
      ...object,
      ...(archive === localArchiveName && {
        url: `${study}/series/${object.seriesInstanceUID}/instances/${object.sopInstanceUID}`,
      }),
    })),
  };
}

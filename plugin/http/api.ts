import { Router } from 'express';
import type { Database } from '../database/database.ts';
import { dicomWebPath } from '../dicomweb/router.ts';
import { resultObjectsOf, worklist, type Scoring } from '../jobs/scorings.ts';
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
    const scorings = await worklist(database, worklistLimit);
    response.json(
      await Promise.all(
        scorings.map(async (scoring) => ({
          ...describe(scoring),
          results: await resultsOf(database, scoring),
        })),
      ),
    );
  });
  return router;
}

/** A study as the worklist shows it; without anything that names the patient. */
function describe({ archive, studyInstanceUID, state, step, reason, bundle, score, requestedAt }: Scoring) {
  return { archive, studyInstanceUID, status: state, step, reason, bundle, score, requestedAt };
}

/** The result objects of a scoring, with their address where the node itself holds them. */
async function resultsOf(database: Database, scoring: Scoring) {
  if (scoring.state !== 'scored') return [];
  const objects = await resultObjectsOf(database, scoring.id);
  return objects.map((object) => ({
    ...object,
    ...(scoring.archive === localArchiveName && {
      url: `${dicomWebPath}/studies/${scoring.studyInstanceUID}/series/${object.seriesInstanceUID}/instances/${object.sopInstanceUID}`,
    }),
  }));
}

import { z } from 'zod';
import { readBundle } from '../../inference/bundle/registry.ts';
import { sliceScores } from '../jobs/scorings.ts';
import { studyReport } from '../report/study-report.ts';
import type { ApiContext } from './context.ts';
import { Problem } from './problem.ts';
import { route, type Route } from './route.ts';
import { slicePictures } from './slice-pictures.ts';
import { archiveName, findStudy, uid } from './study-routes.ts';

/** The highest slices have their pictures in a report: as many as a page holds. */
const reportedHeatmaps = 6;

/** A study on one page. */
export function reportRoutes(context: ApiContext): Route[] {
  const { database, settings } = context;
  const { heatmapOf } = slicePictures(context);
  return [
    route({
      method: 'get',
      path: '/studies/{archive}/{study}/report',
      summary: 'One page on a study, with its highest slices; it needs no other file',
      parameters: z.strictObject({ archive: archiveName, study: uid }),
      answer: 'text/html',
      problems: [404, 502],
      async handle({ parameters: { archive, study }, response }) {
        const row = await findStudy(database, archive, study);
        const slices = await sliceScores(database, row.id);
        const highest = [...slices.keys()]
          .sort((a, b) => slices[b].score.rawScore - slices[a].score.rawScore)
          .slice(0, reportedHeatmaps)
          .sort((a, b) => a - b);
        const heatmaps = new Map<number, Uint8Array>();
        for (const index of highest) {
          const png = await heatmapOf({ row, index, slice: slices[index] }).catch((error: unknown) => {
            if (error instanceof Problem && error.status === 404) return undefined; // the values are there still
            throw error;
          });
          if (png) heatmaps.set(index, png);
        }
        const bundle =
          row.bundle === null
            ? undefined
            : await readBundle(settings.data, row.bundle).catch(() => undefined);
        response.set({
          'Content-Type': 'text/html; charset=utf-8',
          'Content-Security-Policy':
            "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'",
          'Cache-Control': 'no-store',
        });
        response.write(studyReport({ scoring: row, slices, heatmaps, bundle, feedback: row.feedback }));
        return undefined;
      },
    }),
  ];
}

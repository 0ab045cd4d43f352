import { z } from 'zod';
import { version } from '../version.ts';
import { viewerRoots } from '../viewer/configuration.ts';
import { hasViewer } from '../viewer/install.ts';
import type { ApiContext } from './context.ts';
import { answerSchema, route, type Route } from './route.ts';

/** The node itself, and a sample to try it with. */
export function nodeRoutes({ settings, archives, loadSample }: ApiContext): Route[] {
  return [
    route({
      method: 'get',
      path: '/node',
      summary: 'What answers here',
      answer: answerSchema(
        'Node',
        z.object({
          name: z.string(),
          version: z.string(),
          /** The bundle that scores where no rule says otherwise: an ID or a name. */
          bundle: z.string(),
          /** Archives that studies come from. */
          archives: z.array(z.string()),
          /** A study is complete when nothing of it has arrived for so long. */
          quietSeconds: z.number(),
          /** Archives whose studies OHIF shows, at /viewer/ARCHIVE; none where it is not installed. */
          viewer: z.array(z.string()),
        }),
      ),
      handle: () => ({
        name: 'QFAE',
        version,
        bundle: settings.bundle,
        archives: [...archives.keys()],
        quietSeconds: settings.arrival.quietSeconds,
        viewer: hasViewer(settings.data) ? [...viewerRoots(archives, settings.viewer.roots).keys()] : [],
      }),
    }),
    route({
      method: 'post',
      path: '/sample-study',
      summary: 'Put a synthetic head with a lesion into the node’s own store, as if it had been sent',
      answer: answerSchema('SampleStudy', z.object({ studyInstanceUID: z.string() })),
      problems: [403],
      handle: async () => ({ studyInstanceUID: await loadSample() }),
    }),
  ];
}

import type { Response } from 'express';
import { z } from 'zod';
import { ValueHistogram } from '../../dicom/decoding/value-histogram.ts';
import type { DicomJson } from '../../dicom/dicom-json.ts';
import { frameAttributes } from '../../dicom/functional-groups.ts';
import { pixelAspectRatio } from '../../dicom/pixel-aspect-ratio.ts';
import { DicomError } from '../../dicom/reading/dicom-error.ts';
import { numberOf } from '../../dicom/reading/attribute.ts';
import {
  GREATEST_OPACITY,
  OPAQUE_FROM,
  SCALE_END,
  TRANSPARENT_BELOW,
} from '../../dicom/sc/heatmap-overlay.ts';
import { INFERNO } from '../../dicom/sc/inferno.generated.ts';
import { parseWindow, renderFrame } from '../dicomweb/rendered.ts';
import { RetrieveError } from '../dicomweb/retrieve-error.ts';
import { readKeptMap } from '../scoring/kept-map.ts';
import type { ApiContext } from './context.ts';
import { Problem, type ProblemStatus } from './problem.ts';
import { answerSchema, route, type Route } from './route.ts';
import { slicePictures } from './slice-pictures.ts';
import { archiveName, sliceFields, uid, wholeNumber } from './study-routes.ts';

/** Percentiles of a frame's values that are black and white where it has no window. */
const windowPercentiles = [0.5, 99.5] as const;

const sliceSchema = answerSchema(
  'Slice',
  z.object({
    ...sliceFields,
    /** 2×3 affine from the grid of map and reconstruction to the slice; null where these are not kept any more. */
    gridToSlice: z.array(z.number()).length(6).nullable(),
    /** The height of its pixels in widths of theirs. */
    pixelAspectRatio: z.number(),
    /** Its window and the range of its values, after the modality LUT; null for a picture in colour. */
    window: z
      .object({ center: z.number(), width: z.number(), lowest: z.number(), highest: z.number() })
      .nullable(),
  }),
);

const heatmapStyleSchema = answerSchema(
  'HeatmapStyle',
  z.object({
    /** What 255 in a map picture stands for, in multiples of the map's threshold. */
    scaleEnd: z.number(),
    /** The share of the scale below which nothing is drawn. */
    transparentBelow: z.number(),
    /** The share from which on it has its greatest opacity. */
    opaqueFrom: z.number(),
    greatestOpacity: z.number(),
    /** Red, green and blue of 256 steps of the scale. */
    colours: z.array(z.number().int()),
  }),
);

const sliceParameters = z.strictObject({
  archive: archiveName,
  study: uid,
  /** Counted from 1, in the order of the study's slices. */
  slice: wholeNumber.pipe(z.number().min(1, 'from 1')),
});

/** What a reader looks at: slices in grey, their anomaly maps and reconstructions. */
export function sliceRoutes(context: ApiContext): Route[] {
  const { database, pool } = context;
  const { find, readFile, keptMapOf, heatmapOf } = slicePictures(context);
  const path = '/studies/{archive}/{study}/slices/{slice}';
  const picture = {
    method: 'get' as const,
    parameters: sliceParameters,
    answer: 'image/png',
    problems: [404, 502] satisfies ProblemStatus[],
  };
  return [
    route({
      method: 'get',
      path,
      summary: 'A slice of the result, and how it is to be shown',
      parameters: sliceParameters,
      answer: sliceSchema,
      problems: [404, 502],
      async handle({ parameters }) {
        const found = await find(parameters);
        const kept = await readKeptMap(database, found.row.id, found.index);
        const { frame } = found.slice;
        const shownAs = await readFile(found, async (file) => {
          const attributes = frameAttributes((await pool.readHeader(file)).dataset, frame);
          return {
            pixelAspectRatio: pixelAspectRatio(attributes),
            window: await readWindow(pool, file, frame, attributes),
          };
        });
        return {
          ...found.slice,
          gridToSlice: kept ? [...kept.gridToSlice] : null,
          ...shownAs,
        };
      },
    }),
    route({
      ...picture,
      path: `${path}/image`,
      summary: 'A slice in grey, through its own window or the one given as center,width',
      query: z.strictObject({ window: z.string().max(100).optional() }),
      async handle({ parameters, query, response }) {
        const found = await find(parameters);
        const rendering = {
          quality: 100,
          unsupported: [],
          ...(query.window !== undefined && { window: windowOf(query.window) }),
        };
        const { frame } = found.slice;
        const image = await readFile(found, (file) => renderFrame(pool, file, frame, rendering, 'image/png'));
        sendPicture(response, image);
        return undefined;
      },
    }),
    route({
      ...picture,
      path: `${path}/map`,
      summary:
        'The anomaly map of a slice, 8-bit grey on the model’s grid; heatmap-style says what its values are',
      async handle({ parameters, response }) {
        sendPicture(response, (await keptMapOf(await find(parameters))).map);
        return undefined;
      },
    }),
    route({
      ...picture,
      path: `${path}/reconstruction`,
      summary: 'What the model made of a slice, on the model’s grid',
      async handle({ parameters, response }) {
        sendPicture(response, (await keptMapOf(await find(parameters))).reconstruction);
        return undefined;
      },
    }),
    route({
      ...picture,
      path: `${path}/heatmap`,
      summary: 'A slice with its heatmap, as the Secondary Capture shows it',
      async handle({ parameters, response }) {
        sendPicture(response, await heatmapOf(await find(parameters)));
        return undefined;
      },
    }),
    route({
      method: 'get',
      path: '/heatmap-style',
      summary: 'How anomaly maps are drawn over slices',
      answer: heatmapStyleSchema,
      handle: () => ({
        scaleEnd: SCALE_END,
        transparentBelow: TRANSPARENT_BELOW,
        opaqueFrom: OPAQUE_FROM,
        greatestOpacity: GREATEST_OPACITY,
        colours: [...INFERNO],
      }),
    }),
  ];
}

function windowOf(text: string) {
  try {
    return parseWindow(text);
  } catch (error) {
    if (error instanceof RetrieveError) throw new Problem(400, `query.window: ${error.message}`);
    throw error;
  }
}

/** Patients' pictures stay in no cache of a browser that others use. */
function sendPicture(response: Response, png: Uint8Array): void {
  response.set({ 'Content-Type': 'image/png', 'Cache-Control': 'no-store' });
  response.write(png);
}

/** The first window of a frame, else what most of its values are within. */
async function readWindow(pool: ApiContext['pool'], file: string, frame: number, attributes: DicomJson) {
  const histogram = new ValueHistogram();
  try {
    histogram.add(await pool.readHistogram(file, frame));
  } catch (error) {
    if (error instanceof DicomError && error.reason === 'colour') return null;
    throw error;
  }
  const at = (percent: number) => histogram.percentile(percent) ?? 0;
  const [low, high] = windowPercentiles.map(at);
  return {
    center: numberOf(attributes, '00281050') ?? (low + high) / 2,
    width: numberOf(attributes, '00281051') ?? Math.max(high - low, 1),
    lowest: at(0),
    highest: at(100),
  };
}

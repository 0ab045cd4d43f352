import sharp from 'sharp';
import { frameAttributes } from '../../dicom/functional-groups.ts';
import { pixelAspectRatio } from '../../dicom/pixel-aspect-ratio.ts';
import { heatmapOverlay } from '../../dicom/sc/heatmap-overlay.ts';
import { openBundle } from '../../inference/bundle/registry.ts';
import { calibrationOf } from '../../inference/bundle/schema.ts';
import { sliceScores, type SliceRecord } from '../jobs/scorings.ts';
import { heatmapFrom, readKeptMap, type KeptMap } from '../scoring/kept-map.ts';
import type { ApiContext } from './context.ts';
import { Problem } from './problem.ts';
import { findStudy } from './study-routes.ts';
import type { WorklistRow } from './worklist.ts';

/** A slice of the result that is shown, and where it is counted from 0. */
export interface FoundSlice {
  row: WorklistRow;
  index: number;
  slice: SliceRecord;
}

/** Finds slices of results, and what pictures of them are made of. Everything throws a Problem where that is gone. */
export function slicePictures({ database, settings, archives, pool, shown }: ApiContext) {
  /** @param number counted from 1 */
  const find = async ({
    archive,
    study,
    slice: number,
  }: {
    archive: string;
    study: string;
    slice: number;
  }): Promise<FoundSlice> => {
    const row = await findStudy(database, archive, study);
    const slices = await sliceScores(database, row.id);
    const slice = slices.at(number - 1);
    if (!slice) throw new Problem(404, `study ${study} has ${slices.length} scored slices`);
    return { row, index: number - 1, slice };
  };
  /** What `read` makes of the file that holds the slice. */
  const readFile = async <Result>(
    { row, slice }: FoundSlice,
    read: (file: string) => Promise<Result>,
  ): Promise<Result> => {
    const archive = archives.get(row.archive);
    const series = row.selection?.seriesInstanceUID ?? row.subject?.seriesInstanceUID;
    if (!archive || series === undefined)
      throw new Problem(404, `archive ${row.archive} is not in the settings`);
    const outcome = await shown
      .read(archive, row.studyInstanceUID, series, slice.sopInstanceUID, async (file) => {
        const [reading] = await Promise.allSettled([read(file)]);
        return reading;
      })
      .catch((error: unknown) => {
        throw new Problem(502, (error as Error).message);
      });
    if (outcome === undefined)
      throw new Problem(404, `archive ${row.archive} no longer holds ${slice.sopInstanceUID}`);
    if (outcome.status === 'rejected') throw outcome.reason;
    return outcome.value;
  };
  const keptMapOf = async ({ row, index }: FoundSlice): Promise<KeptMap> => {
    const kept = await readKeptMap(database, row.id, index);
    if (!kept) throw new Problem(404, 'the anomaly maps of this study are not kept any more');
    return kept;
  };
  /** The slice with its heatmap, as viewers show the Secondary Capture: a PNG file with square pixels. */
  const heatmapOf = async (found: FoundSlice): Promise<Buffer> => {
    const { frame, score } = found.slice;
    const kept = await keptMapOf(found);
    const bundle = await openBundle(settings.data, found.row.bundle ?? '').catch((error: unknown) => {
      throw new Problem(404, (error as Error).message);
    });
    const { grey, aspect } = await readFile(found, async (file) => ({
      grey: await pool.readSlice(file, frame, { colour: 'luma' }),
      aspect: pixelAspectRatio(frameAttributes((await pool.readHeader(file)).dataset, frame)),
    }));
    const heatmap = await heatmapFrom(kept, grey, calibrationOf(bundle).mapThreshold);
    const { pixels, columns: width, rows: height } = heatmapOverlay(heatmap, score, bundle.title);
    return sharp(pixels, { raw: { width, height, channels: 3 } })
      .resize({ width, height: Math.max(1, Math.round(height * aspect)), fit: 'fill' })
      .png()
      .toBuffer();
  };
  return { find, readFile, keptMapOf, heatmapOf };
}

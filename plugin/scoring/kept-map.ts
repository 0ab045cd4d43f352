import sharp from 'sharp';
import type { Heatmap } from '../../dicom/result.ts';
import { SCALE_END } from '../../dicom/sc/heatmap-overlay.ts';
import type { Affine } from '../../dicom/slice.ts';
import type { Queryable } from '../database/database.ts';
import type { ReportedSlice } from './score-series.ts';

/** A slice's anomaly map and reconstruction as they are kept: 8-bit grey PNG pictures on the model's grid. */
export interface KeptMap {
  /** Model grid → slice. */
  gridToSlice: Affine;
  /** 0 … 255 is the colour scale of heatmaps: 0 … `SCALE_END` times the map's threshold. */
  map: Uint8Array;
  reconstruction: Uint8Array;
}

/** The map of a scored slice as it is kept. */
export async function keptMap({
  heatmap,
  reconstruction,
}: Pick<ReportedSlice, 'heatmap' | 'reconstruction'>): Promise<KeptMap> {
  const { map, mapRows: height, mapColumns: width, mapThreshold, gridToSlice } = heatmap;
  const grey = new Uint8Array(
    Uint8ClampedArray.from(map, (value) => (255 * value) / (SCALE_END * mapThreshold)),
  );
  const png = (pixels: Uint8Array) =>
    sharp(pixels, { raw: { width, height, channels: 1 } })
      .png()
      .toBuffer();
  return { gridToSlice, map: await png(grey), reconstruction: await png(reconstruction) };
}

/** A kept map with a slice's pixels: what its heatmap is drawn from. */
export async function heatmapFrom(
  { map, gridToSlice }: KeptMap,
  slice: Pick<Heatmap, 'rows' | 'columns' | 'pixels'>,
  mapThreshold: number,
): Promise<Heatmap> {
  const { data, info } = await sharp(map).extractChannel(0).raw().toBuffer({ resolveWithObject: true });
  const values = Float32Array.from(data, (grey) => (grey / 255) * SCALE_END * mapThreshold);
  const { rows, columns, pixels } = slice;
  return {
    ...{ rows, columns, pixels, gridToSlice, mapThreshold },
    ...{ map: values, mapRows: info.height, mapColumns: info.width },
  };
}

/** Keeps the map of a slice, counted from 0, in place of the one that an earlier run has kept. */
export async function keepMap(on: Queryable, scoringID: string, slice: number, kept: KeptMap): Promise<void> {
  await on.query(
    `insert into anomaly_map (scoring_id, slice, grid_to_slice, map, reconstruction) values ($1, $2, $3, $4, $5)
     on conflict (scoring_id, slice) do update
       set grid_to_slice = excluded.grid_to_slice, map = excluded.map, reconstruction = excluded.reconstruction`,
    [scoringID, slice, JSON.stringify(kept.gridToSlice), kept.map, kept.reconstruction],
  );
}

/** The kept map of a slice, counted from 0; undefined where there is none (any more). */
export async function readKeptMap(
  on: Queryable,
  scoringID: string,
  slice: number,
): Promise<KeptMap | undefined> {
  const [row] = await on.query<KeptMap>(
    `select grid_to_slice as "gridToSlice", map, reconstruction from anomaly_map
     where scoring_id = $1 and slice = $2`,
    [scoringID, slice],
  );
  return row;
}

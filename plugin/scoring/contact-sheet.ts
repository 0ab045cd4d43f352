import sharp from 'sharp';
import { heatmapOverlay } from '../../dicom/sc/heatmap-overlay.ts';
import type { ReportedSlice } from './score-series.ts';

/** Longest side of a slice on the sheet, in pixels. */
const tileSide = 160;
const gap = 4;
const ground = { r: 14, g: 17, b: 20 };

/** All slices of a study with their heatmaps on one picture, in order, row by row. Only the small tiles are kept. */
export class ContactSheet {
  readonly #bundleTitle: string;
  readonly #tiles: Buffer[] = [];

  constructor(bundleTitle: string) {
    this.#bundleTitle = bundleTitle;
  }

  async add({ heatmap, scored }: Pick<ReportedSlice, 'heatmap' | 'scored'>): Promise<void> {
    const { pixels, columns, rows } = heatmapOverlay(heatmap, scored.score, this.#bundleTitle);
    const tile = sharp(pixels, { raw: { width: columns, height: rows, channels: 3 } })
      .resize(tileSide, tileSide, { fit: 'contain', background: ground })
      .png();
    this.#tiles.push(await tile.toBuffer());
  }

  /** Writes the sheet as a PNG file. Throws if no slice was added. */
  async write(file: string): Promise<void> {
    if (this.#tiles.length === 0) throw new Error('a contact sheet needs a slice');
    const columns = Math.ceil(Math.sqrt(this.#tiles.length));
    const rows = Math.ceil(this.#tiles.length / columns);
    const step = tileSide + gap;
    const sheet = { width: columns * step + gap, height: rows * step + gap, channels: 3 as const };
    await sharp({ create: { ...sheet, background: ground } })
      .composite(
        this.#tiles.map((input, i) => ({
          input,
          left: gap + (i % columns) * step,
          top: gap + Math.floor(i / columns) * step,
        })),
      )
      .png()
      .toFile(file);
  }
}

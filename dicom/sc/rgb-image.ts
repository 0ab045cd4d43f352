/** 8-bit RGB, interleaved, row-major: rows × columns × 3 bytes. */
export interface RgbImage {
  rows: number;
  columns: number;
  pixels: Uint8Array;
}

export type Rgb = readonly [red: number, green: number, blue: number];

/** Lays `colour` over a pixel; `opacity` in [0, 1]. Nothing is drawn outside of the image. */
export function blend(image: RgbImage, row: number, column: number, colour: Rgb, opacity: number): void {
  if (row < 0 || column < 0 || row >= image.rows || column >= image.columns) return;
  const offset = 3 * (row * image.columns + column);
  colour.forEach((value, channel) => {
    const under = image.pixels[offset + channel];
    image.pixels[offset + channel] = Math.round(under + opacity * (value - under));
  });
}

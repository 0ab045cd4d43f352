import type { BitmapFont } from './fixed-fonts.generated.ts';
import { blend, type Rgb, type RgbImage } from './rgb-image.ts';

const BLACK: Rgb = [0, 0, 0];
const HALO_OPACITY = 0.75;

/** Draws a line of text with its top left at (row, column), in a dark halo that keeps it legible on any grey. */
export function drawText(
  image: RgbImage,
  font: BitmapFont,
  scale: number,
  row: number,
  column: number,
  text: string,
  colour: Rgb,
): void {
  const bits = new Set<number>();
  const width = text.length * font.width;
  const at = (y: number, x: number) => (y + 1) * (width + 2) + x + 1;
  const halo = new Set<number>();
  Array.from(text).forEach((character, position) => {
    for (const [y, x] of glyphPixels(font, character)) {
      const left = position * font.width + x;
      bits.add(at(y, left));
      for (const dy of [-1, 0, 1]) for (const dx of [-1, 0, 1]) halo.add(at(y + dy, left + dx));
    }
  });
  for (const pixel of halo) {
    const y = Math.floor(pixel / (width + 2)) - 1;
    const x = (pixel % (width + 2)) - 1;
    const [paint, opacity] = bits.has(pixel) ? [colour, 1] : [BLACK, HALO_OPACITY];
    for (let dy = 0; dy < scale; dy++) {
      for (let dx = 0; dx < scale; dx++) {
        blend(image, row + y * scale + dy, column + x * scale + dx, paint, opacity);
      }
    }
  }
}

/** Pixels of a glyph as [row, column]; a character that the font lacks is drawn as a question mark. */
function* glyphPixels(font: BitmapFont, character: string): Generator<[number, number]> {
  const code = character.charCodeAt(0);
  const glyph = (code >= 0x20 && code <= 0x7e ? code : 0x3f) - 0x20;
  const rowBytes = Math.ceil(font.width / 8);
  for (let y = 0; y < font.height; y++) {
    for (let x = 0; x < font.width; x++) {
      const byte = font.glyphs[(glyph * font.height + y) * rowBytes + (x >> 3)];
      if (byte & (0x80 >> (x & 7))) yield [y, x];
    }
  }
}

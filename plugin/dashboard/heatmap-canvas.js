/** Larger maps are drawn at this many pixels and enlarged. */
const largestSide = 1024;
/** Of regions above the map's threshold, as in the Secondary Capture: opaque cyan, as the bytes of a canvas. */
const outline = new Uint32Array(new Uint8Array([90, 235, 255, 255]).buffer)[0];

/**
 * Draws a slice and its anomaly map over it, as the Secondary Capture does it: faint values are
 * transparent, and what lies above the map's threshold is outlined.
 *
 * @param canvas gets the slice's own size
 * @param image the slice in grey
 * @param map picture of the map on the model's grid, or undefined
 * @param gridToSlice 2×3 affine
 * @param style of the API's /heatmap-style
 * @param opacity the greatest
 * @param threshold below which nothing is drawn, in multiples of the map's threshold
 */
export function drawHeatmap(canvas, image, { map, gridToSlice, style, opacity, threshold }) {
  const { width, height } = image;
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const context = canvas.getContext('2d');
  context.drawImage(image, 0, 0);
  if (!map) return;
  const overlay = coloured(
    map,
    gridToSlice,
    { width, height },
    palette(style, opacity, threshold),
    255 / style.scaleEnd,
  );
  context.drawImage(overlay, 0, 0, width, height);
}

/** The map on the slice's grid, interpolated first and coloured then: colours between two values are theirs. */
function coloured(map, [a, b, c, d, e, f], { width, height }, colours, outlined) {
  const shrink = Math.min(1, largestSide / Math.max(width, height));
  const canvas = new OffscreenCanvas(Math.round(width * shrink), Math.round(height * shrink));
  const context = canvas.getContext('2d', { willReadFrequently: true });
  context.setTransform(a * shrink, d * shrink, b * shrink, e * shrink, c * shrink, f * shrink);
  context.drawImage(map, 0, 0);
  const picture = context.getImageData(0, 0, canvas.width, canvas.height);
  const pixels = new Uint32Array(picture.data.buffer);
  // The map is grey: its lowest byte is its value; where it does not reach, all is 0.
  const values = pixels.map((pixel) => pixel & 255);
  for (let i = 0; i < pixels.length; i++) {
    const edge = values[i] >= outlined && neighbours(i, canvas).some((j) => !(values[j] >= outlined));
    pixels[i] = edge ? outline : pixels[i] === 0 ? 0 : colours[values[i]];
  }
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.putImageData(picture, 0, 0);
  return canvas;
}

/** The pixels above, below and beside one; -1, which has no value, where the picture ends. */
function neighbours(i, { width }) {
  const column = i % width;
  return [i - width, i + width, column > 0 ? i - 1 : -1, column < width - 1 ? i + 1 : -1];
}

/** 256 colours with their opacity, as the bytes of a canvas. */
function palette({ colours, scaleEnd, transparentBelow, opaqueFrom }, opacity, threshold) {
  const bytes = new Uint8ClampedArray(4 * 256);
  for (let value = 0; value < 256; value++) {
    const rise = (value / 255 - threshold / scaleEnd) / (opaqueFrom - transparentBelow);
    bytes.set(colours.slice(3 * value, 3 * value + 3), 4 * value);
    bytes[4 * value + 3] = 255 * opacity * Math.min(1, rise);
  }
  return new Uint32Array(bytes.buffer);
}

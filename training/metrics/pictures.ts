/** Side of a picture and of the frame in it, in pixels. */
const [SIZE, MARGIN] = [512, 32];
const INNER = SIZE - 2 * MARGIN;
const BARS = 40;

const colours = { normal: '#1f77b4', abnormal: '#d62728', line: '#222222', grid: '#cccccc' };

/** The ROC curve as SVG, without text: false-positive rate to the right, true-positive rate upwards, chance dashed. */
export function rocPicture(points: readonly { fpr: number; tpr: number }[]): string {
  const curve = points.map(({ fpr, tpr }) => place(fpr, tpr)).join(' ');
  return picture(
    line(place(0, 0), place(1, 1), colours.grid, 'stroke-dasharray="6 6"') +
      `<polyline points="${curve}" fill="none" stroke="${colours.abnormal}" stroke-width="3"/>`,
  );
}

/**
 * Scores of normal (blue) and abnormal cases (red) as SVG, without text: the share of each class in 40 equal steps
 * from the lowest to the highest score, and the bundle's threshold as a black line.
 */
export function histogramPicture(
  normal: readonly number[],
  abnormal: readonly number[],
  threshold?: number,
): string {
  const all = [...normal, ...abnormal];
  const [low, high] = all.reduce(
    ([low, high], score) => [Math.min(low, score), Math.max(high, score)],
    [Infinity, -Infinity],
  );
  const width = (high - low || 1) / BARS;
  const shares = [normal, abnormal].map((scores) => {
    const counts = new Array<number>(BARS).fill(0);
    for (const score of scores) counts[Math.min(Math.floor((score - low) / width), BARS - 1)] += 1;
    return counts.map((count) => count / Math.max(scores.length, 1));
  });
  const highest = Math.max(...shares.flat());
  const bars = shares.flatMap((ofClass, i) =>
    ofClass.map((share, bar) => {
      const height = (share / highest) * INNER;
      const x = MARGIN + (bar / BARS) * INNER;
      const fill = [colours.normal, colours.abnormal][i];
      return `<rect x="${x}" y="${SIZE - MARGIN - height}" width="${INNER / BARS}" height="${height}" fill="${fill}" fill-opacity="0.55"/>`;
    }),
  );
  const at = ((threshold ?? NaN) - low) / (width * BARS);
  const limit = at >= 0 && at <= 1 ? line(place(at, 0), place(at, 1), colours.line) : '';
  return picture(bars.join('') + limit);
}

/** A white square with a frame and quarter lines behind what is drawn. */
function picture(content: string): string {
  const grid = [0.25, 0.5, 0.75].map(
    (at) => line(place(at, 0), place(at, 1), colours.grid) + line(place(0, at), place(1, at), colours.grid),
  );
  const frame = `<rect x="${MARGIN}" y="${MARGIN}" width="${INNER}" height="${INNER}" fill="none" stroke="${colours.line}" stroke-width="2"/>`;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${SIZE}" height="${SIZE}"><rect width="100%" height="100%" fill="white"/>${grid.join('')}${content}${frame}</svg>`;
}

/** From the unit square, y upwards, into the frame. */
function place(x: number, y: number): string {
  return `${MARGIN + x * INNER},${MARGIN + (1 - y) * INNER}`;
}

function line(from: string, to: string, colour: string, style = ''): string {
  return `<polyline points="${from} ${to}" stroke="${colour}" stroke-width="1.5" ${style}/>`;
}

/**
 * Numbers the connected regions of a mask (row-major, non-zero = inside) from 1; pixels that touch at a corner are
 * connected, as in the evaluation of MVTec AD. Outside is 0.
 */
export function connectedRegions(
  mask: ArrayLike<number>,
  columns: number,
): { labels: Uint32Array; sizes: number[] } {
  const labels = new Uint32Array(mask.length);
  const rows = mask.length / columns;
  const sizes: number[] = [];
  const open: number[] = [];
  for (let start = 0; start < mask.length; start++) {
    if (mask[start] === 0 || labels[start] !== 0) continue;
    const label = sizes.push(0);
    labels[start] = label;
    open.push(start);
    for (let pixel = open.pop(); pixel !== undefined; pixel = open.pop()) {
      sizes[label - 1] += 1;
      const [row, column] = [Math.floor(pixel / columns), pixel % columns];
      for (let y = Math.max(row - 1, 0); y <= Math.min(row + 1, rows - 1); y++) {
        for (let x = Math.max(column - 1, 0); x <= Math.min(column + 1, columns - 1); x++) {
          const neighbour = y * columns + x;
          if (mask[neighbour] === 0 || labels[neighbour] !== 0) continue;
          labels[neighbour] = label;
          open.push(neighbour);
        }
      }
    }
  }
  return { labels, sizes };
}

import { sphere } from './sphere.ts';
import { surfaceSection } from './surface-section.ts';

const grid = { rows: 60, columns: 80, origin: [-40, -30, 0.25] as const, spacing: [1, 1] as const };

/** A ball of radius 20 mm, moved along x. */
const ball = (x = 0) => {
  const { vertices, triangles } = sphere(4);
  return { vertices: vertices.map((value, i) => 20 * value + (i % 3 === 0 ? x : 0)), triangles };
};

test('the section of a ball is its disc', () => {
  const mask = surfaceSection(ball(), grid);
  const wrong = mask.filter((inside, i) => {
    const [x, y] = [(i % 80) - 40, Math.floor(i / 80) - 30];
    const distance = Math.hypot(x, y, 0.25);
    return Math.abs(distance - 20) > 0.1 && inside !== (distance < 20 ? 1 : 0);
  });
  expect(wrong).toHaveLength(0);
  expect(mask.reduce((a, b) => a + b, 0)).toBeGreaterThan(1200);
});

test('beside the ball there is nothing, and a plane through vertices is closed', () => {
  expect(surfaceSection(ball(), { ...grid, origin: [-40, -30, 20.5] }).includes(1)).toBe(false);
  const through = surfaceSection(ball(), { ...grid, origin: [-40, -30, 0] });
  expect(through.reduce((a, b) => a + b, 0)).toBeGreaterThan(1200);
  // The plane runs on beyond the grid's left and upper edge.
  expect(surfaceSection(ball(), { ...grid, origin: [0, 0, 0] })[0]).toBe(1);
});

test('pixels are where origin and spacing put them', () => {
  const coarse = surfaceSection(ball(10), { rows: 3, columns: 3, origin: [-15, -25, 0], spacing: [25, 25] });
  expect([...coarse]).toEqual([0, 0, 0, 0, 1, 0, 0, 0, 0]);
});

test('where the surface runs through itself, the union is inside', () => {
  const [a, b] = [ball(-5), ball(5)];
  const both = {
    vertices: Float64Array.from([...a.vertices, ...b.vertices]),
    triangles: Uint32Array.from([...a.triangles, ...b.triangles.map((v) => v + a.vertices.length / 3)]),
  };
  const right = surfaceSection(b, grid);
  const union = surfaceSection(a, grid).map((inside, i) => inside | right[i]);
  expect(surfaceSection(both, grid)).toEqual(union);
});

/** A closed surface of triangles, wound so that their normals point outwards. */
export interface Surface {
  /** x, y, z of each vertex. */
  readonly vertices: Float64Array;
  /** Three vertices of each triangle. */
  readonly triangles: Uint32Array;
}

/** The unit sphere as an icosahedron whose triangles are divided into four, `subdivisions` times. */
export function sphere(subdivisions: number): Surface {
  const phi = (1 + Math.sqrt(5)) / 2;
  const vertices = [
    [-1, phi, 0],
    [1, phi, 0],
    [-1, -phi, 0],
    [1, -phi, 0],
    [0, -1, phi],
    [0, 1, phi],
    [0, -1, -phi],
    [0, 1, -phi],
    [phi, 0, -1],
    [phi, 0, 1],
    [-phi, 0, -1],
    [-phi, 0, 1],
  ].map(unit);
  let triangles = [
    [0, 11, 5],
    [0, 5, 1],
    [0, 1, 7],
    [0, 7, 10],
    [0, 10, 11],
    [1, 5, 9],
    [5, 11, 4],
    [11, 10, 2],
    [10, 7, 6],
    [7, 1, 8],
    [3, 9, 4],
    [3, 4, 2],
    [3, 2, 6],
    [3, 6, 8],
    [3, 8, 9],
    [4, 9, 5],
    [2, 4, 11],
    [6, 2, 10],
    [8, 6, 7],
    [9, 8, 1],
  ];
  for (let i = 0; i < subdivisions; i++) {
    const middles = new Map<string, number>();
    const middle = (a: number, b: number): number => {
      const edge = a < b ? `${a} ${b}` : `${b} ${a}`;
      const index =
        middles.get(edge) ?? vertices.push(unit(vertices[a].map((x, k) => x + vertices[b][k]))) - 1;
      middles.set(edge, index);
      return index;
    };
    triangles = triangles.flatMap(([a, b, c]) => {
      const [ab, bc, ca] = [middle(a, b), middle(b, c), middle(c, a)];
      return [
        [a, ab, ca],
        [b, bc, ab],
        [c, ca, bc],
        [ab, bc, ca],
      ];
    });
  }
  return { vertices: Float64Array.from(vertices.flat()), triangles: Uint32Array.from(triangles.flat()) };
}

const unit = (vector: number[]): number[] => vector.map((x) => x / Math.hypot(...vector));

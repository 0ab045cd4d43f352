import { sphere, type Surface } from './sphere.ts';

// Bound once: inside of jest's sandbox every look-up of a global is slow.
const { abs, cbrt, floor, hypot, max, min, PI, sqrt, tanh } = Math;

/** A volume on a rectangular grid. */
export interface Volume {
  /** Voxels along x (fastest in memory), y and z. */
  readonly size: readonly [number, number, number];
  /** From voxel to voxel along x, y and z, in mm. */
  readonly spacing: readonly [number, number, number];
  /** Any unit; higher is brighter. */
  readonly voxels: Float32Array;
  /** Direction of the top of the head along x, y and z, of length 1. */
  readonly superior: readonly [number, number, number];
}

/** A head, roughly. */
export interface Head {
  /** Its centre of gravity, in mm from the centre of the first voxel. */
  readonly centre: readonly number[];
  /** Of a ball of its volume, in mm. */
  readonly radius: number;
  readonly intensities: {
    /** 2nd and 98th percentile. */
    readonly lowest: number;
    readonly highest: number;
    /** A tenth of the way between them: below is background. */
    readonly threshold: number;
    /** Of the ball. */
    readonly median: number;
  };
}

/** Height of a head down to below the cerebellum, in mm: what lies lower (neck, shoulders) is not looked at. */
const headHeight = 170;
/** Radii of curvature, in mm, between which the surface is let bend. */
const [tightest, widest] = [10 / 3, 10];
/** Enough to fill the brain; with many more, the surface creeps out where no dark layer stops it. */
const iterations = 300;
/** How far inwards, in mm, the darkest and the brightest value are looked for (d1 and d2 of the paper). */
const [reachOfDarkest, reachOfBrightest] = [20, 10];
/** Between the darkest value (0) and the brightest one (1): where the brain ends. Found on Colin27. */
const fractionalThreshold = 0.72;

/**
 * The surface of the brain in an MR volume of a whole head: a sphere amid the head that grows until it meets the
 * dark layer of cerebrospinal fluid and bone, kept smooth (Smith, Human Brain Mapping 17:143, 2002). The vertices
 * are in mm from the centre of the first voxel. Deterministic.
 */
export function brainSurface(volume: Volume, { centre, radius, intensities }: Head): Surface {
  const surface = sphere(4);
  const { vertices } = surface;
  for (let i = 0; i < vertices.length; i++) vertices[i] = centre[i % 3] + (radius / 2) * vertices[i];
  grow(surface, sampler(volume), intensities);
  return surface;
}

/** Centre, radius and grey values of the head above the neck. Undefined where the volume has one value. */
export function estimateHead(volume: Volume): Head | undefined {
  const { size, spacing, voxels, superior } = volume;
  const sorted = voxels.toSorted();
  const [lowest, highest] = [0.02, 0.98].map((share) => sorted[floor(share * (sorted.length - 1))]);
  const threshold = lowest + 0.1 * (highest - lowest);
  if (!(highest > lowest)) return undefined;
  const height = (x: number, y: number, z: number) =>
    x * spacing[0] * superior[0] + y * spacing[1] * superior[1] + z * spacing[2] * superior[2];
  const bottom = topOfHead(volume, threshold, height) - headHeight;
  let [weight, x0, y0, z0, count] = [0, 0, 0, 0, 0];
  forEachVoxel(size, (x, y, z, i) => {
    if (!(voxels[i] > threshold) || height(x, y, z) < bottom) return;
    const value = min(voxels[i], highest) - lowest;
    weight += value;
    x0 += value * x;
    y0 += value * y;
    z0 += value * z;
    count += 1;
  });
  const centre = [x0, y0, z0].map((sum, axis) => (sum / weight) * spacing[axis]);
  const radius = cbrt((3 * count * spacing[0] * spacing[1] * spacing[2]) / (4 * PI));
  const inside: number[] = [];
  forEachVoxel(size, (x, y, z, i) => {
    if (!(voxels[i] > lowest && voxels[i] < highest)) return;
    const distance = hypot(
      x * spacing[0] - centre[0],
      y * spacing[1] - centre[1],
      z * spacing[2] - centre[2],
    );
    if (distance < radius) inside.push(voxels[i]);
  });
  const median = Float32Array.from(inside).sort()[inside.length >> 1];
  return { centre, radius, intensities: { lowest, highest, threshold, median } };
}

/** Height that a thousandth of the foreground lies above. */
function topOfHead(
  { size, voxels }: Volume,
  threshold: number,
  height: (x: number, y: number, z: number) => number,
): number {
  const heights: number[] = [];
  forEachVoxel(size, (x, y, z, i) => {
    if (voxels[i] > threshold) heights.push(height(x, y, z));
  });
  return Float32Array.from(heights).sort()[floor(0.999 * heights.length)];
}

/** Moves the vertices of `surface`. */
function grow(
  { vertices, triangles }: Surface,
  sample: (x: number, y: number, z: number) => number,
  { lowest, threshold, median }: Head['intensities'],
): void {
  const count = vertices.length / 3;
  const neighbours = neighboursOf(triangles, count);
  const normals = new Float64Array(vertices.length);
  const moved = new Float64Array(vertices.length);
  // Smoothing sets in between the two curvatures.
  const middle = (1 / tightest + 1 / widest) / 2;
  const slope = 6 / (1 / tightest - 1 / widest);
  let edge = 0;
  for (let iteration = 0; iteration < iterations; iteration++) {
    if (iteration === 50 || iteration % 100 === 0) edge = meanEdge(vertices, neighbours);
    computeNormals(vertices, triangles, normals);
    for (let v = 0; v < count; v++) {
      const o = 3 * v;
      const x = vertices[o];
      const y = vertices[o + 1];
      const z = vertices[o + 2];
      const nx = normals[o];
      const ny = normals[o + 1];
      const nz = normals[o + 2];
      let dx = 0;
      let dy = 0;
      let dz = 0;
      const around = neighbours[v];
      for (let k = 0; k < around.length; k++) {
        const p = 3 * around[k];
        dx += vertices[p];
        dy += vertices[p + 1];
        dz += vertices[p + 2];
      }
      dx = dx / around.length - x;
      dy = dy / around.length - y;
      dz = dz / around.length - z;
      const along = dx * nx + dy * ny + dz * nz;
      const curvature = (2 * abs(along)) / (edge * edge);
      const smoothing = (1 + tanh(slope * (curvature - middle))) / 2;

      let darkest = median;
      let brightest = threshold;
      for (let depth = 1; depth <= reachOfDarkest; depth++) {
        const value = sample(x - depth * nx, y - depth * ny, z - depth * nz);
        darkest = min(darkest, value);
        if (depth <= reachOfBrightest) brightest = max(brightest, value);
      }
      darkest = max(lowest, darkest);
      brightest = min(median, brightest);
      const local = lowest + fractionalThreshold * (brightest - lowest);
      const growth = (0.05 * edge * 2 * (darkest - local)) / (brightest - lowest);

      // Half of the way to the middle of the neighbours within the surface, a part of it across.
      const across = smoothing * along - along / 2 + growth;
      moved[o] = x + dx / 2 + across * nx;
      moved[o + 1] = y + dy / 2 + across * ny;
      moved[o + 2] = z + dz / 2 + across * nz;
    }
    vertices.set(moved);
  }
}

function neighboursOf(triangles: Uint32Array, count: number): number[][] {
  const sets = Array.from({ length: count }, () => new Set<number>());
  for (let t = 0; t < triangles.length; t++) {
    sets[triangles[t]].add(triangles[t % 3 === 2 ? t - 2 : t + 1]);
  }
  return sets.map((set) => [...set]);
}

function meanEdge(vertices: Float64Array, neighbours: number[][]): number {
  let [sum, count] = [0, 0];
  neighbours.forEach((around, v) => {
    for (const other of around) {
      const [a, b] = [3 * v, 3 * other];
      sum += hypot(
        vertices[a] - vertices[b],
        vertices[a + 1] - vertices[b + 1],
        vertices[a + 2] - vertices[b + 2],
      );
      count += 1;
    }
  });
  return sum / count;
}

/** Unit normals of the vertices: of the triangles around each, weighted by their area. */
function computeNormals(vertices: Float64Array, triangles: Uint32Array, normals: Float64Array): void {
  normals.fill(0);
  for (let t = 0; t < triangles.length; t += 3) {
    const [a, b, c] = [3 * triangles[t], 3 * triangles[t + 1], 3 * triangles[t + 2]];
    const ux = vertices[b] - vertices[a];
    const uy = vertices[b + 1] - vertices[a + 1];
    const uz = vertices[b + 2] - vertices[a + 2];
    const vx = vertices[c] - vertices[a];
    const vy = vertices[c + 1] - vertices[a + 1];
    const vz = vertices[c + 2] - vertices[a + 2];
    const [x, y, z] = [uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx];
    for (let k = 0; k < 3; k++) {
      const o = k === 0 ? a : k === 1 ? b : c;
      normals[o] += x;
      normals[o + 1] += y;
      normals[o + 2] += z;
    }
  }
  for (let o = 0; o < normals.length; o += 3) {
    const length = sqrt(normals[o] ** 2 + normals[o + 1] ** 2 + normals[o + 2] ** 2) || 1;
    normals[o] /= length;
    normals[o + 1] /= length;
    normals[o + 2] /= length;
  }
}

/** Trilinear interpolation at a point in mm; the lowest possible value outside of the volume. */
function sampler({
  size: [nx, ny, nz],
  spacing,
  voxels,
}: Volume): (x: number, y: number, z: number) => number {
  const [sx, sy, sz] = spacing;
  const plane = nx * ny;
  return (px, py, pz) => {
    const x = px / sx;
    const y = py / sy;
    const z = pz / sz;
    if (!(x >= -0.5 && y >= -0.5 && z >= -0.5 && x <= nx - 0.5 && y <= ny - 0.5 && z <= nz - 0.5))
      return -Infinity;
    const i = max(0, min(floor(x), nx - 2));
    const j = max(0, min(floor(y), ny - 2));
    const k = max(0, min(floor(z), nz - 2));
    const u = max(0, min(x - i, 1));
    const v = max(0, min(y - j, 1));
    const w = max(0, min(z - k, 1));
    const o = i + nx * j + plane * k;
    const p = o + plane;
    const a = voxels[o] + u * (voxels[o + 1] - voxels[o]);
    const b = voxels[o + nx] + u * (voxels[o + nx + 1] - voxels[o + nx]);
    const c = voxels[p] + u * (voxels[p + 1] - voxels[p]);
    const d = voxels[p + nx] + u * (voxels[p + nx + 1] - voxels[p + nx]);
    const lower = a + v * (b - a);
    return lower + w * (c + v * (d - c) - lower);
  };
}

/** Calls `visit` for every voxel, in the order of memory. */
function forEachVoxel(
  [nx, ny, nz]: Volume['size'],
  visit: (x: number, y: number, z: number, index: number) => void,
): void {
  let index = 0;
  for (let z = 0; z < nz; z++) {
    for (let y = 0; y < ny; y++) for (let x = 0; x < nx; x++) visit(x, y, z, index++);
  }
}

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fitCalibration } from '../calibration.ts';
import { PooledValues } from '../pooled-values.ts';
import { scorePicture } from '../score-picture.ts';
import { scoringGraph } from '../scoring-graph.ts';
import { Session } from '../session.ts';
import { storedReference } from './reference-picture.ts';
import { mountWeights, weightsFolder } from './registry.ts';
import type { Manifest } from './schema.ts';
import { seededRandom, untrainedModel } from './untrained.ts';

const ALPHA = 0.05;
/** The fewest whose threshold at 5 % is not simply the largest score. */
const NORMALS = 39;

/**
 * Calibration and reference of the bundle `untrained`, computed here: on 39 synthetic phantoms, each a study of one
 * slice, and one more. Run as a program, it writes `untrained.json` anew.
 */
export async function calibrateUntrained(root: string): Promise<Pick<Manifest, 'calibration' | 'reference'>> {
  const manifest = await untrainedModel(root);
  const graph = scoringGraph(manifest, await mountWeights(root, manifest)).toBytes();
  const session = await Session.open({ graph, weightsFolder: weightsFolder(root) });
  try {
    const side = manifest.model.imageSize;
    const score = (pixels: Uint8Array) =>
      scorePicture(session, manifest, { pixels, rows: side, columns: side });
    const mapValues = new PooledValues();
    const studies = [];
    for (let i = 1; i <= NORMALS; i++) {
      const { rawScore, map } = await score(phantom(`${i}`, side));
      mapValues.add(map);
      studies.push({
        rawScore,
        mapMaximum: map.reduce((largest, value) => Math.max(largest, value), -Infinity),
      });
    }
    const reference = phantom('0', side);
    return {
      calibration: fitCalibration(studies, mapValues, ALPHA, 256),
      reference: storedReference(reference, (await score(reference)).rawScore),
    };
  } finally {
    await session.close();
  }
}

/** A bright ellipse with darker and brighter ones inside: side × side bytes. */
function phantom(name: string, side: number): Uint8Array {
  const random = seededRandom(`phantom ${name}`);
  const between = (low: number, high: number) => low + (high - low) * random();
  const ellipse = (reach: number, width: [number, number], grey: [number, number]) => ({
    x: between(-reach, reach),
    y: between(-reach, reach),
    a: between(...width),
    b: between(...width),
    grey: between(...grey),
  });
  const ellipses = [
    ellipse(0.05, [0.7, 0.9], [90, 130]),
    ...Array.from({ length: 8 }, () => ellipse(0.4, [0.05, 0.25], [-50, 60])),
  ];
  return Uint8Array.from({ length: side * side }, (_, i) => {
    const [u, v] = [((i % side) + 0.5) / (side / 2) - 1, (Math.floor(i / side) + 0.5) / (side / 2) - 1];
    const grey = ellipses
      .filter(({ x, y, a, b }) => ((u - x) / a) ** 2 + ((v - y) / b) ** 2 < 1)
      .reduce((sum, { grey }) => sum + grey, 0);
    return Math.min(Math.max(Math.round(grey + between(0, 12)), 0), 255);
  });
}

if (import.meta.main) {
  const root = await mkdtemp(join(tmpdir(), 'untrained-'));
  const calibrated = await calibrateUntrained(root);
  await rm(root, { recursive: true });
  await writeFile(join(import.meta.dirname, 'untrained.json'), `${JSON.stringify(calibrated, null, 2)}\n`);
}

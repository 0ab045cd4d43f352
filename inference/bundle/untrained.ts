import { createHash } from 'node:crypto';
import { fitCalibration } from '../calibration.ts';
import { PooledValues } from '../pooled-values.ts';
import type { ModelConfig } from '../model/config.ts';
import { initialValues, parameterShapes } from '../model/initial-values.ts';
import { normalise } from '../preprocess.ts';
import { scoringGraph } from '../scoring-graph.ts';
import { Session } from '../session.ts';
import { storedReference } from './reference-picture.ts';
import {
  addBundle,
  addWeights,
  bundleIDs,
  mountWeights,
  openBundle,
  promote,
  promotedBundle,
  weightProblems,
  weightsFolder,
} from './registry.ts';
import type { Bundle, Manifest } from './schema.ts';

const NAME = 'untrained';
const SEED = 20260101;
const ALPHA = 0.05;
/** The fewest whose threshold at 5 % is not simply the largest score. */
const NORMALS = 39;

const vit = { depth: 5, heads: 4, mlpRatio: 4, normPre: false, patchBias: true, normEps: 1e-6 };

/** Small, yet with every part of a real model. */
const config: ModelConfig = {
  imageSize: 112,
  encoders: [
    {
      vit: {
        ...vit,
        dim: 64,
        patchSize: 14,
        positionGrid: 8,
        registers: 4,
        noEmbedClass: true,
        layerScale: true,
      },
      hiddenStates: [-2, -4],
    },
  ],
  qFormer: { dim: 48, heads: 4, outputDim: 56 },
  decoder: { dim: 64, depth: 2, heads: 4, patchSize: 8, registers: 4, mlpRatio: 4 },
  perceptual: {
    vit: {
      ...vit,
      dim: 48,
      patchSize: 16,
      positionGrid: 14,
      registers: 0,
      noEmbedClass: false,
      layerScale: false,
    },
    train: { patchSizes: [28, 56], blocks: [2, 3] },
    score: { patchSizes: [16, 28, 56], blocks: [1, 2, 3] },
  },
};

const profile: Manifest['profile'] = {
  name: NAME,
  preprocessing: { mean: 0.449, std: 0.226 },
  maxSlices: null,
  sampling: 'even',
  reductions: { image: 'max|mean', map: 'mean', study: 'max' },
};

/**
 * The bundle `untrained`: random weights, calibrated on synthetic phantoms, with which everything can be tried
 * out before a model is trained. Made if it is not there, and promoted for its own profile. Deterministic, and
 * safe when several processes do it at once.
 */
export async function ensureUntrained(root: string): Promise<Bundle> {
  const existing = await findSound(root);
  const bundle = existing ?? (await makeUntrained(root));
  if ((await promotedBundle(root, NAME)) === undefined) await promote(root, bundle.id);
  return bundle;
}

/** One that was made from the same seed and is complete. */
async function findSound(root: string): Promise<Bundle | undefined> {
  for (const id of (await bundleIDs(root)).filter((id) => id.startsWith(`${NAME}@`))) {
    const bundle = await openBundle(root, id);
    const { origin, seed } = bundle.provenance;
    if (origin !== 'untrained' || seed !== SEED) continue;
    if ((await weightProblems(root, bundle)).length === 0) return bundle;
  }
  return undefined;
}

async function makeUntrained(root: string): Promise<Bundle> {
  const shapes = parameterShapes(config);
  const add = (prefix: string, keep: (name: string) => boolean) => {
    const tensors = [...shapes]
      .filter(([name]) => keep(name))
      .map(([name, shape]) => {
        const values = initialValues(name, shapes, seededRandom(name));
        return [name.slice(prefix.length), { shape, values }] as const;
      });
    return addWeights(root, prefix, new Map(tensors));
  };
  const frozen = ['encoders.0.model.', 'perceptual.'];
  const weights = [];
  for (const prefix of frozen) weights.push(await add(prefix, (name) => name.startsWith(prefix)));
  const trained = await add('', (name) => !frozen.some((prefix) => name.startsWith(prefix)));

  const manifest = {
    schemaVersion: 1 as const,
    name: NAME,
    title: 'Scores mean nothing (UNTRAINED)',
    profile,
    model: config,
    weights,
    heads: [{ name: 'qfae', weights: [trained] }],
  };
  const phantoms = Array.from({ length: NORMALS + 1 }, (_, i) => phantom(`${i}`));
  const [reference, ...normals] = await scorePhantoms(root, manifest, phantoms);
  const mapValues = new PooledValues();
  for (const { map } of normals) mapValues.add(map);
  const studies = normals.map(({ rawScore, map }) => ({
    rawScore,
    mapMaximum: map.reduce((largest, value) => Math.max(largest, value), -Infinity),
  }));
  return addBundle(root, {
    ...manifest,
    calibration: fitCalibration(studies, mapValues, ALPHA, 256),
    provenance: {
      software: 'qfae',
      origin: 'untrained',
      seed: SEED,
      trainingStudies: 0,
      calibrationStudies: NORMALS,
      studyHashes: [],
    },
    reference: storedReference(phantoms[0], reference.rawScore),
    metrics: {},
  });
}

/** Each phantom alone is a study of one slice. */
async function scorePhantoms(
  root: string,
  manifest: Pick<Manifest, 'model' | 'profile' | 'weights' | 'heads'>,
  phantoms: readonly Uint8Array[],
) {
  const graph = scoringGraph(manifest, await mountWeights(root, manifest)).toBytes();
  const session = await Session.open({ graph, weightsFolder: weightsFolder(root) });
  try {
    const side = config.imageSize;
    const studies = [];
    for (const pixels of phantoms) {
      const data = new Float32Array(3 * pixels.length);
      normalise(pixels, profile.preprocessing, data);
      const { score, map } = await session.run({ x: { data, dims: [1, 3, side, side] } });
      studies.push({ rawScore: score.data[0], map: map.data });
    }
    return studies;
  } finally {
    await session.close();
  }
}

/** A bright ellipse with darker and brighter ones inside: bytes on the model's grid. */
function phantom(name: string): Uint8Array {
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
  const side = config.imageSize;
  return Uint8Array.from({ length: side * side }, (_, i) => {
    const [u, v] = [((i % side) + 0.5) / (side / 2) - 1, (Math.floor(i / side) + 0.5) / (side / 2) - 1];
    const grey = ellipses
      .filter(({ x, y, a, b }) => ((u - x) / a) ** 2 + ((v - y) / b) ** 2 < 1)
      .reduce((sum, { grey }) => sum + grey, 0);
    return Math.min(Math.max(Math.round(grey + between(0, 12)), 0), 255);
  });
}

/** Numbers in [0, 1) from the seed and a name: the same everywhere, whatever is drawn for other names. */
function seededRandom(name: string): () => number {
  let block = new Uint32Array();
  let [next, blocks] = [0, 0];
  return () => {
    if (next === block.length) {
      const bytes = createHash('shake256', { outputLength: 65_536 })
        .update(`${SEED} ${name} ${blocks++}`)
        .digest();
      block = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
      next = 0;
    }
    return block[next++] / 2 ** 32;
  };
}

import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ModelConfig } from '../model/config.ts';
import { initialValues, parameterShapes } from '../model/initial-values.ts';
import {
  addBundle,
  addWeights,
  bundleIDs,
  openBundle,
  promote,
  promotedBundle,
  weightProblems,
} from './registry.ts';
import type { Bundle, Manifest } from './schema.ts';

const NAME = 'untrained';
const SEED = 20260101;

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
 * out before a model is trained. Made if it is not there, and promoted for its own profile. It has one ID
 * everywhere: weights come from a seed, and what `calibrate-untrained.ts` once computed, whose last digits differ
 * between processors, is stored. Safe when several processes do it at once.
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
  const stored = JSON.parse(await readFile(join(import.meta.dirname, 'untrained.json'), 'utf8')) as Pick<
    Manifest,
    'calibration' | 'reference'
  >;
  return addBundle(root, {
    ...(await untrainedModel(root)),
    ...stored,
    provenance: {
      software: 'qfae',
      origin: 'untrained',
      seed: SEED,
      trainingStudies: 0,
      calibrationStudies: stored.calibration!.scores.length,
      studyHashes: [],
    },
    metrics: {},
  });
}

/** The model with its weights, which are made of the seed and added to the registry. */
export async function untrainedModel(root: string) {
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
  return {
    schemaVersion: 1 as const,
    name: NAME,
    title: 'Scores mean nothing (UNTRAINED)',
    profile,
    model: config,
    weights,
    heads: [{ name: 'qfae', weights: [trained] }],
  };
}

/** Numbers in [0, 1) from the seed and a name: the same everywhere, whatever is drawn for other names. */
export function seededRandom(name: string): () => number {
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

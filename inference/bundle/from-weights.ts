import { modelConfig, tasks } from '../model/presets.ts';
import type { ModelConfig, VitConfig } from '../model/config.ts';
import { openSafetensors } from '../safetensors.ts';
import { scorePicture } from '../score-picture.ts';
import { scoringGraph } from '../scoring-graph.ts';
import { Session } from '../session.ts';
import { listWeights } from '../weights/store.ts';
import type { StoredWeights } from '../weights/store.ts';
import { taskProfile } from './profiles.ts';
import type { ProfileName } from './profiles.ts';
import { referencePicture, storedReference } from './reference-picture.ts';
import { addBundle, mountWeights, weightsFolder, weightsPath } from './registry.ts';
import type { Bundle, Manifest } from './schema.ts';

export interface BundleParts {
  /** Name of the bundle and of its profile. */
  readonly profile: ProfileName;
  /** The trained head: first digits of its SHA-256, its source, or the name it was downloaded by. Its encoders are those that it came with. */
  readonly checkpoint: string;
  /** The perceptual model; if left out, the only imported weights that the configuration can take. */
  readonly perceptual?: string;
  /** The paper's for the profile, at the decoder patch size of the head, if left out. */
  readonly model?: ModelConfig;
  readonly title: string;
  readonly software: string;
}

/**
 * Makes a bundle of imported weights and adds it; it is not calibrated. Throws if weights are missing, or have
 * shapes that the configuration does not.
 */
export async function bundleFromWeights(root: string, parts: BundleParts): Promise<Bundle> {
  const stored = await listWeights(root);
  const head = named(stored, 'head', parts.checkpoint);
  const encoders = (head.encoders ?? []).map((sha256) => named(stored, 'encoder', sha256));
  const config = parts.model ?? modelConfig(tasks[parts.profile], await decoderPatchSize(root, head));
  if (encoders.length !== config.encoders.length) {
    throw new Error(
      `${head.source} has ${encoders.length} encoders, the model of ${parts.profile} has ${config.encoders.length}`,
    );
  }
  const perceptual =
    parts.perceptual === undefined
      ? fitting(stored, config.perceptual.vit)
      : named(stored, 'encoder', parts.perceptual);
  const model: ModelConfig = {
    ...config,
    encoders: config.encoders.map((encoder, i) => ({
      ...encoder,
      vit: withPositions(encoder.vit, encoders[i]),
    })),
    perceptual: { ...config.perceptual, vit: withPositions(config.perceptual.vit, perceptual) },
  };
  const mounted = ({ sha256, bytes }: StoredWeights, prefix: string) => ({ prefix, sha256, bytes });
  const manifest = {
    schemaVersion: 1 as const,
    name: parts.profile,
    title: parts.title,
    profile: taskProfile(parts.profile),
    model,
    weights: [
      ...encoders.map((encoder, i) => mounted(encoder, `encoders.${i}.model.`)),
      mounted(perceptual, 'perceptual.'),
    ],
    heads: [{ name: 'qfae', weights: [mounted(head, '')] }],
  };
  return addBundle(root, {
    ...manifest,
    calibration: null,
    provenance: {
      software: parts.software,
      origin: 'imported',
      trainingStudies: 0,
      calibrationStudies: 0,
      studyHashes: [],
    },
    reference: await scoreReference(root, manifest),
    metrics: {},
  });
}

/** The imported weights that a reference means. Throws if there are none, or several. */
function named(
  stored: readonly StoredWeights[],
  content: StoredWeights['content'],
  reference: string,
): StoredWeights {
  const found = stored.filter(
    (weights) =>
      weights.content === content &&
      ([weights.source, weights.name].includes(reference) ||
        (reference.length >= 6 && weights.sha256.startsWith(reference))),
  );
  return only(found, `${content} ${reference}`);
}

/** The only imported encoder that `vit` can be. */
function fitting(stored: readonly StoredWeights[], vit: VitConfig): StoredWeights {
  const found = stored.filter(
    (weights) =>
      weights.vit &&
      Object.entries(weights.vit).every(
        ([key, value]) => key === 'positionGrid' || vit[key as keyof VitConfig] === value,
      ),
  );
  return only(found, `perceptual model (dim ${vit.dim}, ${vit.depth} blocks, patch ${vit.patchSize})`);
}

function only(found: readonly StoredWeights[], what: string): StoredWeights {
  if (found.length === 1) return found[0];
  if (found.length === 0) throw new Error(`no ${what} among the imported weights: see qfae weights list`);
  throw new Error(`several imported weights are ${what}: ${found.map(({ sha256 }) => sha256).join(', ')}`);
}

/** Positions are resampled from the grid that the weights have. */
function withPositions(vit: VitConfig, { vit: stored }: StoredWeights): VitConfig {
  return { ...vit, positionGrid: stored?.positionGrid ?? vit.positionGrid };
}

/** The decoder predicts 3 channels of each pixel of a patch. */
async function decoderPatchSize(root: string, { sha256, source }: StoredWeights): Promise<8 | 16 | 32> {
  const { tensors } = await openSafetensors(weightsPath(root, sha256));
  const [values] = tensors.get('decoder.decoder_prediction.bias')?.shape ?? [];
  const patchSize = ([8, 16, 32] as const).find((patchSize) => 3 * patchSize ** 2 === values);
  if (patchSize === undefined) throw new Error(`${source} has none of the paper’s decoder patch sizes`);
  return patchSize;
}

/** The reference picture and its score. Throws if the weights do not fit the model. */
async function scoreReference(
  root: string,
  manifest: Pick<Manifest, 'model' | 'profile' | 'weights' | 'heads'>,
): Promise<Manifest['reference']> {
  const picture = referencePicture(manifest.model.imageSize);
  const session = await Session.open({
    graph: scoringGraph(manifest, await mountWeights(root, manifest)).toBytes(),
    weightsFolder: weightsFolder(root),
  });
  try {
    const { rawScore } = await scorePicture(session, manifest, picture);
    return storedReference(picture.pixels, rawScore);
  } finally {
    await session.close();
  }
}

import { open } from 'node:fs/promises';
import { hashFile } from '../file-hash.ts';
import { openSafetensors } from '../safetensors.ts';
import { safetensorsState } from './tensor.ts';
import type { LazyTensor, StateDictionary } from './tensor.ts';
import { checkHead } from './checkpoint-shape.ts';
import { storeWeights } from './store.ts';
import type { Origin, StoredWeights } from './store.ts';
import { readTorchFile } from './torch-file.ts';
import { toTimmNames } from './vit-names.ts';
import { resampleVit, vitShape } from './vit-shape.ts';
import type { TargetSize } from './vit-shape.ts';

/**
 * Reads a weight file, `.safetensors` or what `torch.save` wrote (told apart by content, not by name), and stores
 * what the model can use in the registry at `root`: an encoder, or the parts of a QFAE checkpoint, each encoder
 * and the trained head alone, so that checkpoints share encoders.
 *
 * @param origin where the file came from, as the record beside the weights will say.
 * @param target sizes that an encoder is resampled to; not for QFAE checkpoints.
 * @throws Error if the file is malformed or holds something else.
 */
export async function importWeights(
  root: string,
  path: string,
  origin: Origin,
  target: TargetSize = {},
): Promise<StoredWeights[]> {
  const state = await readState(path);
  const sourceSha256 = await hashFile(path);
  const stored: StoredWeights[] = [];
  for (const { state: part, ...content } of parts(state, target)) {
    const encoders =
      content.content === 'head' ? { encoders: stored.map((encoder) => encoder.sha256) } : undefined;
    stored.push(await storeWeights(root, part, { ...content, ...encoders, ...origin, sourceSha256 }));
  }
  return stored;
}

async function readState(path: string): Promise<StateDictionary> {
  return (await isSafetensors(path)) ? safetensorsState(await openSafetensors(path)) : readTorchFile(path);
}

/** A length of 8 bytes, then JSON. */
async function isSafetensors(path: string): Promise<boolean> {
  await using file = await open(path);
  const { buffer } = await file.read(Buffer.alloc(9), 0, 9, 0);
  return buffer[8] === 0x7b;
}

type Part = Pick<StoredWeights, 'content' | 'names' | 'vit' | 'prefix'> & {
  readonly state: ReadonlyMap<string, LazyTensor>;
};

function parts(state: StateDictionary, target: TargetSize): Part[] {
  if (state.has('junction.queries')) {
    if (target.imageSize !== undefined || target.patchSize !== undefined) {
      throw new Error('the decoder of a QFAE checkpoint is tied to its image size: import it as it is');
    }
    return checkpointParts(state);
  }
  const { family, state: named } = toTimmNames(state);
  const encoder = resampleVit(named, target);
  return [{ content: 'encoder', names: family, vit: vitShape(encoder), prefix: '', state: encoder }];
}

/** The released code's `MQViTAE`: `encoders.<i>.model.` are frozen; projections, `junction.`, `decoder.` trained. */
function checkpointParts(state: StateDictionary): Part[] {
  const encoders = new Map<string, Map<string, LazyTensor>>();
  const head = new Map<string, LazyTensor>();
  for (const [name, tensor] of state) {
    const [prefix = ''] = /^encoders\.\d+\.model\./.exec(name) ?? [];
    if (prefix !== '') {
      const encoder = encoders.get(prefix) ?? new Map<string, LazyTensor>();
      encoders.set(prefix, encoder.set(name.slice(prefix.length), tensor));
    } else if (/^(encoders\.\d+\.final_projection|junction|decoder)\./.test(name)) {
      head.set(name, tensor);
    } else {
      throw new Error(`${name} is no parameter of a QFAE checkpoint`);
    }
  }
  if (encoders.size === 0) throw new Error('a QFAE checkpoint without encoder');
  const inOrder = [...encoders].sort(([a], [b]) => (a < b ? -1 : 1));
  const parts = inOrder.map(([prefix, encoder]) => ({
    content: 'encoder' as const,
    names: 'timm' as const,
    vit: vitShape(encoder),
    prefix,
    state: encoder,
  }));
  checkHead(
    head,
    parts.map(({ vit }) => vit),
  );
  return [...parts, { content: 'head', names: 'QFAE', prefix: '', state: head }];
}

import { stat } from 'node:fs/promises';
import { z } from 'zod';
import { openSafetensors, readFloats, streamSafetensors } from '../inference/safetensors.ts';
import type { Safetensors } from '../inference/safetensors.ts';
import type { Engine, EngineState, ParameterState } from './engine.ts';

/** Everything that a run needs to go on to the bit. */
export interface Checkpoint {
  /** Optimiser steps done. */
  readonly step: number;
  /** The run's settings as text: a run goes on only with the same ones. */
  readonly settings: string;
  /** Read from the file as it is asked for. */
  readonly state: EngineState;
}

const metadataSchema = z.object({ step: z.string().regex(/^\d+$/).transform(Number), settings: z.string() });

const QUANTITIES = ['weight', 'mean', 'square'] as const;
const tensorName = (quantity: (typeof QUANTITIES)[number], parameter: string) =>
  quantity === 'weight' ? parameter : `adam.${quantity}.${parameter}`;

/** Writes weights and Adam's moments as one safetensors file, which replaces the one before as a whole. */
export async function writeCheckpoint(
  path: string,
  engine: Engine,
  { step, settings }: Omit<Checkpoint, 'state'>,
): Promise<void> {
  const tensors = engine.parameters.flatMap(({ name, shape }) =>
    QUANTITIES.map((quantity) => [tensorName(quantity, name), { name, quantity, shape }] as const),
  );
  await streamSafetensors(path, new Map(tensors), ({ name, quantity }) => engine.read(name, quantity), {
    step: String(step),
    settings,
  });
}

/** Opens a checkpoint; undefined if there is none. Throws if it is damaged. */
export async function readCheckpoint(path: string): Promise<Checkpoint | undefined> {
  if (!(await stat(path).catch(() => undefined))) return undefined;
  const file = await openSafetensors(path);
  const metadata = metadataSchema.safeParse(file.metadata);
  if (!metadata.success) throw new Error(`${path} is no checkpoint: ${z.prettifyError(metadata.error)}`);
  return { ...metadata.data, state: stateIn(file) };
}

async function* stateIn(file: Safetensors): AsyncGenerator<[string, ParameterState]> {
  for (const [name, { shape }] of file.tensors) {
    if (name.startsWith('adam.')) continue;
    const [weight, mean, square] = await Promise.all(
      QUANTITIES.map((quantity) => readFloats(file, tensorName(quantity, name))),
    );
    yield [name, { shape, weight, mean, square }];
  }
}

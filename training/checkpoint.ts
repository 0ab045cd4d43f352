import { stat } from 'node:fs/promises';
import { z } from 'zod';
import { openSafetensors, readFloats, writeSafetensors } from '../inference/safetensors.ts';
import type { TensorValues } from '../inference/safetensors.ts';
import type { EngineState, ParameterState } from './engine.ts';

/** Everything that a run needs to go on to the bit. */
export interface Checkpoint {
  /** Optimiser steps done. */
  readonly step: number;
  /** The run's settings as text: a run goes on only with the same ones. */
  readonly settings: string;
  readonly state: EngineState;
}

const metadataSchema = z.object({ step: z.string().regex(/^\d+$/).transform(Number), settings: z.string() });

const MOMENTS = ['mean', 'square'] as const;
const momentName = (moment: string, parameter: string) => `adam.${moment}.${parameter}`;

/** Writes weights and Adam's moments as one safetensors file, which replaces the one before as a whole. */
export async function writeCheckpoint(path: string, { step, settings, state }: Checkpoint): Promise<void> {
  const tensors = [...state].flatMap(([name, { shape, weight, ...moments }]): [string, TensorValues][] => [
    [name, { shape, values: weight }],
    ...MOMENTS.map((moment): [string, TensorValues] => [
      momentName(moment, name),
      { shape, values: moments[moment] },
    ]),
  ]);
  await writeSafetensors(path, new Map(tensors), { step: String(step), settings });
}

/** Reads a checkpoint; undefined if there is none. Throws if it is damaged. */
export async function readCheckpoint(path: string): Promise<Checkpoint | undefined> {
  if (!(await stat(path).catch(() => undefined))) return undefined;
  const file = await openSafetensors(path);
  const metadata = metadataSchema.safeParse(file.metadata);
  if (!metadata.success) throw new Error(`${path} is no checkpoint: ${z.prettifyError(metadata.error)}`);
  const state = new Map<string, ParameterState>();
  for (const [name, { shape }] of file.tensors) {
    if (name.startsWith('adam.')) continue;
    state.set(name, {
      shape,
      weight: await readFloats(file, name),
      mean: await readFloats(file, momentName('mean', name)),
      square: await readFloats(file, momentName('square', name)),
    });
  }
  return { ...metadata.data, state };
}

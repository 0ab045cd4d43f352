import { tasks } from '../model/presets.ts';
import type { Manifest } from './schema.ts';

export type Profile = Manifest['profile'];
export type ProfileName = keyof typeof tasks;

const imageNet = { mean: 0.449, std: 0.226 };

/** How each task of the paper prepares its slices (released code; liver: `preprocess_liver_dataset.py`). */
const preprocessing: Record<ProfileName, Profile['preprocessing']> = {
  'brain-mri': { ...imageNet, isolated: 'brain' },
  'brain-mri-pair': { ...imageNet, isolated: 'brain' },
  'retinal-oct': imageNet,
  'chest-xray': imageNet,
  'liver-ct': {
    ...imageNet,
    isolated: 'liver',
    placement: 'region',
    bilateral: { diameter: 9, sigmaColor: 75, sigmaSpace: 75 },
  },
};

/** The profile of a task of the paper, as a bundle holds it; all slices of a study are scored. */
export function taskProfile(name: ProfileName): Profile {
  const { image, map } = tasks[name];
  return {
    name,
    preprocessing: preprocessing[name],
    maxSlices: null,
    sampling: 'even',
    reductions: { image, map, study: 'max' },
  };
}

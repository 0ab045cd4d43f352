import { tasks } from '../model/presets.ts';
import type { Manifest } from './schema.ts';

export type Profile = Manifest['profile'];
export type ProfileName = keyof typeof tasks;

const imageNet = { mean: 0.449, std: 0.226 };

const percentiles = { from: 'series', lowPercentile: 0.5, highPercentile: 99.5 } as const;

/** Axial FLAIR of the head, as BraTS2021's; the brain alone. */
const brain = {
  series: {
    modalities: ['MR'],
    bodyParts: ['BRAIN', 'HEAD', 'SKULL', 'HEADNECK'],
    planes: ['axial'],
    contrast: 'FLAIR',
  },
  preprocessing: { ...imageNet, intensity: percentiles, isolated: 'brain' },
} satisfies Partial<Profile>;

/** Which series each task of the paper scores, and how it prepares slices (released code; liver: `preprocess_liver_dataset.py`). */
const sources: Record<ProfileName, Pick<Profile, 'series' | 'preprocessing'>> = {
  'brain-mri': brain,
  'brain-mri-pair': brain,
  'retinal-oct': {
    series: { modalities: ['OPT', 'OCT', 'OP', 'OT'] },
    preprocessing: { ...imageNet, intensity: { from: 'stored' } },
  },
  'chest-xray': {
    series: {
      modalities: ['CR', 'DX'],
      bodyParts: ['CHEST', 'THORAX', 'LUNG'],
      views: ['PA', 'AP'],
    },
    preprocessing: { ...imageNet, intensity: { from: 'image' } },
  },
  'liver-ct': {
    series: { modalities: ['CT'], planes: ['axial'] },
    preprocessing: {
      ...imageNet,
      // The abdominal window of BMAD's LiverCT.
      intensity: { from: 'window', center: 40, width: 400 },
      isolated: 'liver',
      placement: 'region',
      bilateral: { diameter: 9, sigmaColor: 75, sigmaSpace: 75 },
    },
  },
};

/** The profile of a task of the paper, as a bundle holds it; all slices of a study are scored. */
export function taskProfile(name: ProfileName): Profile {
  const { image, map } = tasks[name];
  return {
    name,
    ...sources[name],
    maxSlices: null,
    sampling: 'even',
    reductions: { image, map, study: 'max' },
  };
}

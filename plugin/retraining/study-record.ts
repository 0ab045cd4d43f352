import { appendFile, readFile } from 'node:fs/promises';
import { z } from 'zod';

const positive = z.number().positive();

/** What a stack of slices looks like in space; what its headers do not say is left out. */
export const stackGeometrySchema = z.strictObject({
  modality: z.string(),
  /** Of the patient's planes the one that is nearest. */
  plane: z.enum(['axial', 'coronal', 'sagittal']).optional(),
  rows: positive,
  columns: positive,
  /** Of a slice's larger side, in millimetres. */
  extent: positive.optional(),
  /** Median distance of neighbouring slices, in millimetres. */
  sliceSpacing: positive.optional(),
});

export type StackGeometry = z.infer<typeof stackGeometrySchema>;

/** A line of a run's manifest: a study, why it is in the data set, and what became of it. */
export const studyRecordSchema = z.strictObject({
  part: z.enum(['normal', 'abnormal']),
  /** Left out for pictures and files of a folder. */
  archive: z.string().optional(),
  /** StudyInstanceUID, or the name of a picture's patient. */
  study: z.string(),
  why: z.array(z.string()),
  /** What the slice cache and the bundle call it: salted hashes. Left out where it is not taken. */
  pseudonyms: z.strictObject({ patient: z.string(), study: z.string() }).optional(),
  slices: z.number().int().nonnegative(),
  /** Left out for pictures. */
  geometry: stackGeometrySchema.optional(),
  /** Why it is not taken, for people. */
  leftOut: z.string().optional(),
});

export type StudyRecord = z.infer<typeof studyRecordSchema>;

/** Appends to a manifest, JSON lines. */
export async function appendStudies(path: string, records: readonly StudyRecord[]): Promise<void> {
  await appendFile(path, records.map((record) => `${JSON.stringify(record)}\n`).join(''), { flush: true });
}

/** A manifest; a last line that was cut short is passed over. */
export async function readStudies(path: string): Promise<StudyRecord[]> {
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return '';
  });
  return text
    .split('\n')
    .slice(0, -1)
    .flatMap((line) => {
      // A process that was killed in a write left a part of a line before the next one's.
      const parsed = studyRecordSchema.safeParse(jsonOrNothing(line));
      return parsed.success ? [parsed.data] : [];
    });
}

function jsonOrNothing(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

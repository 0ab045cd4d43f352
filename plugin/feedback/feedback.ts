import { z } from 'zod';
import type { Queryable } from '../database/database.ts';

/** What a reader says of a study; `withdrawn` takes back what was said before. */
export const feedbackLabels = ['normal', 'abnormal', 'artefact', 'withdrawn'] as const;

/** A reader's judgement of a study. */
export const judgementSchema = z.strictObject({
  label: z.enum(feedbackLabels),
  /** Who says so. Where one has to sign in, that is who has signed in, and it may be left out. */
  reader: z
    .string()
    .trim()
    .min(1)
    .max(100)
    .regex(/^\P{Cc}*$/u, 'without control characters')
    .optional(),
  comment: z
    .string()
    .max(2000)
    .regex(/^[^\0]*$/, 'without NUL characters')
    .optional(),
});

export type Judgement = z.infer<typeof judgementSchema> & { reader: string };

/** A judgement as it is kept. */
export interface Feedback {
  label: (typeof feedbackLabels)[number];
  reader: string;
  comment: string | null;
  givenAt: Date;
}

/** A study by the archive that holds it. */
export interface StudyReference {
  archive: string;
  studyInstanceUID: string;
}

const columns = 'label, reader, comment, given_at as "givenAt"';

/** Keeps a judgement beside those that were given before. */
export async function giveFeedback(
  on: Queryable,
  { archive, studyInstanceUID }: StudyReference,
  { label, reader, comment }: Judgement,
): Promise<Feedback> {
  const [row] = await on.query<Feedback>(
    `insert into feedback (archive, study_instance_uid, label, reader, comment) values ($1, $2, $3, $4, $5)
     returning ${columns}`,
    [archive, studyInstanceUID, label, reader, comment ?? null],
  );
  return row;
}

/** All judgements of a study, the last one first: that one counts. */
export async function feedbackHistory(
  on: Queryable,
  { archive, studyInstanceUID }: StudyReference,
): Promise<Feedback[]> {
  return on.query<Feedback>(
    `select ${columns} from feedback where archive = $1 and study_instance_uid = $2 order by id desc`,
    [archive, studyInstanceUID],
  );
}

/** The studies of which the last judgement is `label`, as training and evaluation want them, the earliest first. */
export async function studiesJudged(
  on: Queryable,
  label: Feedback['label'],
): Promise<(StudyReference & Feedback)[]> {
  return on.query<StudyReference & Feedback>(
    `select archive, study_instance_uid as "studyInstanceUID", ${columns}
     from (select distinct on (archive, study_instance_uid) * from feedback
           order by archive, study_instance_uid, id desc) last
     where label = $1 order by id`,
    [label],
  );
}

import { checkContext, checkResult } from '../writing/check-result.ts';
import {
  compositeAttributes,
  type ObjectKind,
  resultObject,
  sourceReference,
} from '../writing/composite-object.ts';
import type { DicomJson } from '../dicom-json.ts';
import { evidence, instanceReference, uniqueInstances } from '../writing/instance-references.ts';
import { dataSet, itemsOf, stringOf } from '../writing/keyword.ts';
import { reportedSlices } from '../writing/reported-slices.ts';
import type { ResultContext, ResultObject, StudyResult } from '../result.ts';
import { type Code, codeOf, DCM, ENGLISH } from '../sr/code.ts';
import { code, composite, container, type ContentItem, image, text } from '../sr/content-item.ts';
import { observer } from '../sr/observation-context.ts';

/** PS3.3 A.35.4. */
const KEY_OBJECT_SELECTION = '1.2.840.10008.5.1.4.1.1.88.59';

/**
 * The Key Object Selection of a result (PS3.16 TID 2010), "Of Interest": the flagged slices in slice order, or the
 * one of the highest score if none is flagged.
 *
 * Throws where the result is incomplete or inconsistent; the message names what and where.
 */
export function keyObjectSelection(result: StudyResult): ResultObject {
  checkResult(result);
  const reported = reportedSlices(result).map(({ scored }) => scored);
  const flagged = reported.filter(({ score }) => score.flagged).length;
  return document(
    result,
    result.slices[0].header,
    { name: 'KO', sopClassUID: KEY_OBJECT_SELECTION, modality: 'KO', seriesNumber: 9705 },
    DCM.ofInterest,
    `${flagged > 0 ? `Slices flagged as unusual by ${result.bundleTitle}` : `No slice was flagged by ${result.bundleTitle}; this is the one of the highest score`}. Not for diagnostic use.`,
    reported.map(({ header, slice }) => image('CONTAINS', undefined, sourceReference(header, slice.frame))),
    uniqueInstances(reported),
  );
}

/** Why objects are rejected (IHE Radiology, Imaging Object Change Management, RAD-66). */
export const REJECTIONS = {
  quality: DCM.rejectedForQualityReasons,
  'patient-safety': DCM.rejectedForPatientSafetyReasons,
  'modality-worklist': DCM.incorrectModalityWorklistEntry,
} as const;

/** An instance as an archive names it. */
export interface RejectedInstance {
  sopClassUID: string;
  sopInstanceUID: string;
  seriesInstanceUID: string;
}

/**
 * A rejection note (IHE IOCM): a Key Object Selection whose title says that the instances it lists are not to be
 * used any more. IOCM has no title of its own for results that newer ones supersede; `quality` is the one whose
 * instances systems hide from readers and that says nothing about the patient or the worklist.
 *
 * Throws where there is nothing to reject, or the context is incomplete.
 *
 * @param header of an instance of the study that the rejected ones belong to
 */
export function rejectionNote(
  result: ResultContext,
  header: DicomJson,
  rejected: readonly RejectedInstance[],
  reason: keyof typeof REJECTIONS = 'quality',
): ResultObject {
  checkContext(result);
  if (rejected.length === 0) throw new RangeError('a rejection note needs an instance to reject');
  const studyInstanceUID = stringOf(header, 'StudyInstanceUID') ?? '';
  const headers = rejected.map(({ sopClassUID, sopInstanceUID, seriesInstanceUID }) =>
    dataSet({
      SOPClassUID: sopClassUID,
      SOPInstanceUID: sopInstanceUID,
      StudyInstanceUID: studyInstanceUID,
      SeriesInstanceUID: seriesInstanceUID,
    }),
  );
  const title = REJECTIONS[reason];
  return document(
    result,
    header,
    {
      name: `rejection note ${title.value} ${rejected
        .map(({ sopInstanceUID }) => sopInstanceUID)
        .sort()
        .join(' ')}`,
      sopClassUID: KEY_OBJECT_SELECTION,
      modality: 'KO',
      seriesNumber: 9707,
    },
    title,
    'Superseded by a newer result.',
    headers.map((each, index) =>
      isImage(rejected[index].sopClassUID)
        ? image('CONTAINS', undefined, instanceReference(each))
        : composite('CONTAINS', instanceReference(each)),
    ),
    headers,
  );
}

/** SOPInstanceUIDs of what a data set rejects; undefined where it is no rejection note. */
export function rejectedBy(dataset: DicomJson): string[] | undefined {
  if (stringOf(dataset, 'SOPClassUID') !== KEY_OBJECT_SELECTION) return undefined;
  const title = itemsOf(dataset, 'ConceptNameCodeSequence').map(codeOf).at(0);
  const reasons: Code[] = Object.values(REJECTIONS);
  if (!reasons.some(({ value, scheme }) => value === title?.value && scheme === title.scheme))
    return undefined;
  return itemsOf(dataset, 'CurrentRequestedProcedureEvidenceSequence')
    .flatMap((study) => itemsOf(study, 'ReferencedSeriesSequence'))
    .flatMap((series) => itemsOf(series, 'ReferencedSOPSequence'))
    .flatMap((instance) => stringOf(instance, 'ReferencedSOPInstanceUID') ?? []);
}

/** Of what this node writes: reports, key objects and presentation states are no images. */
function isImage(sopClassUID: string): boolean {
  return !/^1\.2\.840\.10008\.5\.1\.4\.1\.1\.(88|11)\./.test(sopClassUID);
}

function document(
  result: ResultContext,
  header: DicomJson,
  kind: ObjectKind,
  title: Code,
  description: string,
  references: ContentItem[],
  referenced: DicomJson[],
): ResultObject {
  const content: ContentItem[] = [
    code('HAS CONCEPT MOD', DCM.language, ENGLISH),
    ...observer(result.algorithm),
    text('CONTAINS', DCM.keyObjectDescription, description),
    ...references,
  ];
  return resultObject({
    ...compositeAttributes(result, header, kind, 0),
    ...dataSet({
      ReferencedPerformedProcedureStepSequence: [],
      CurrentRequestedProcedureEvidenceSequence: evidence(referenced),
      ...container(title, content, '2010'),
      RelationshipType: undefined,
    }),
  });
}

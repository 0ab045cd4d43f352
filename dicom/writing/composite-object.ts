import { type Attributes, dataSet, stringOf } from './keyword.ts';
import { dateTime } from './date-time.ts';
import type { DicomJson } from '../dicom-json.ts';
import { contributingEquipment, generalEquipment } from './equipment.ts';
import type { ResultContext, ResultObject } from '../result.ts';
import { resultUid } from './result-uid.ts';
import { patientAndStudy } from './source-attributes.ts';
import { withoutMiddle } from './without-middle.ts';
import { type BulkValues, writePart10 } from './write-part10.ts';

/** What tells one kind of result object from another. */
export interface ObjectKind {
  /** Hashed into the UIDs of its series and instances. */
  name: string;
  sopClassUID: string;
  modality: string;
  /** Of its series; far above those of modalities, so the results stand last. */
  seriesNumber: number;
}

/**
 * What all result objects share: SOP Common, the patient and study of `header`, a series of their own, this
 * node as equipment, and the job's time as every date.
 */
export function compositeAttributes(
  result: ResultContext,
  header: DicomJson,
  kind: ObjectKind,
  index: number,
): DicomJson {
  const { DA, TM, DT } = dateTime(result.performedAt, stringOf(header, 'TimezoneOffsetFromUTC'));
  return {
    ...patientAndStudy(header),
    ...dataSet({
      SOPClassUID: kind.sopClassUID,
      SOPInstanceUID: resultUid(result, kind.name, index),
      InstanceCreationDate: DA,
      InstanceCreationTime: TM,
      Modality: kind.modality,
      SeriesInstanceUID: resultUid(result, `${kind.name} series`),
      SeriesNumber: kind.seriesNumber,
      SeriesDescription: seriesDescription(result.bundleTitle),
      SeriesDate: DA,
      SeriesTime: TM,
      ContentDate: DA,
      ContentTime: TM,
      InstanceNumber: index + 1,
      ...generalEquipment(result.algorithm),
      ContributingEquipmentSequence: [contributingEquipment(result.algorithm, DT)],
    }),
  };
}

/** The mark, after the bundle's title where that fits into the 64 characters of an LO, if without its middle. */
function seriesDescription(bundleTitle: string): string {
  const mark = 'Not for diagnostic use';
  const title = withoutMiddle(bundleTitle, 64 - mark.length - 3);
  return title === undefined ? mark : `${title} - ${mark}`;
}

/** The file of a data set, with the UIDs by which it is stored and found. */
export function resultObject(dataset: DicomJson, bulkValues?: BulkValues): ResultObject {
  return {
    sopClassUID: stringOf(dataset, 'SOPClassUID')!,
    sopInstanceUID: stringOf(dataset, 'SOPInstanceUID')!,
    seriesInstanceUID: stringOf(dataset, 'SeriesInstanceUID')!,
    studyInstanceUID: stringOf(dataset, 'StudyInstanceUID')!,
    bytes: writePart10(dataset, bulkValues),
  };
}

/** A reference to the source of a slice; the frame number only where the source has several (PS3.3 10.3). */
export function sourceReference(header: DicomJson, frame: number): Attributes {
  return {
    ReferencedSOPClassUID: stringOf(header, 'SOPClassUID')!,
    ReferencedSOPInstanceUID: stringOf(header, 'SOPInstanceUID')!,
    ReferencedFrameNumber: isMultiFrame(header) ? frame : undefined,
  };
}

/** Several frames, not one: single-frame classes may not be referenced by frame, even where they count one. */
function isMultiFrame(header: DicomJson): boolean {
  return Number(stringOf(header, 'NumberOfFrames')) > 1;
}

import { type Attributes, stringOf } from './keyword.ts';
import type { DicomJson } from '../dicom-json.ts';
import type { ScoredSlice } from '../result.ts';

/** Where a reference to an instance stands inside an item of ReferencedSeriesSequence: each IOD has its own. */
type ReferenceSequence = 'ReferencedInstanceSequence' | 'ReferencedImageSequence' | 'ReferencedSOPSequence';

/** The headers of the source instances of slices, each once, in slice order. */
export function uniqueInstances(slices: readonly Pick<ScoredSlice, 'header'>[]): DicomJson[] {
  return [...new Map(slices.map(({ header }) => [stringOf(header, 'SOPInstanceUID'), header])).values()];
}

/** A reference to a whole instance. */
export function instanceReference(header: DicomJson): Attributes {
  return {
    ReferencedSOPClassUID: stringOf(header, 'SOPClassUID')!,
    ReferencedSOPInstanceUID: stringOf(header, 'SOPInstanceUID')!,
  };
}

/** Items of ReferencedSeriesSequence: each of the instances once, by series. */
export function referencedSeries(headers: readonly DicomJson[], sequence: ReferenceSequence): Attributes[] {
  const series = Map.groupBy(headers, (header) => stringOf(header, 'SeriesInstanceUID')!);
  return [...series].map(([seriesInstanceUID, ofSeries]) => ({
    SeriesInstanceUID: seriesInstanceUID,
    [sequence]: ofSeries.map(instanceReference),
  }));
}

/** CurrentRequestedProcedureEvidenceSequence: each referenced instance exactly once (PS3.3 C.17.2.3). */
export function evidence(headers: readonly DicomJson[]): Attributes[] {
  return [
    {
      StudyInstanceUID: stringOf(headers[0], 'StudyInstanceUID')!,
      ReferencedSeriesSequence: referencedSeries(headers, 'ReferencedSOPSequence'),
    },
  ];
}

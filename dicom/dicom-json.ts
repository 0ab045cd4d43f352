/** The DICOM JSON model (PS3.18 Annex F): attributes by eight upper-case hexadecimal digits. */
export type DicomJson = Record<string, DicomJsonAttribute>;

export interface DicomJsonAttribute {
  vr: string;
  Value?: DicomJsonValue[];
  /** Base64, for the binary VRs (PS3.18 F.2.7). */
  InlineBinary?: string;
  BulkDataURI?: string;
}

export interface PersonName {
  Alphabetic?: string;
  Ideographic?: string;
  Phonetic?: string;
}

/** `null` stands for an empty value among others (PS3.18 F.2.5). */
export type DicomJsonValue = string | number | null | PersonName | DicomJson;

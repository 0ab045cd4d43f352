import type { Attributes } from './keyword.ts';
import type { Algorithm } from '../result.ts';

/** General Equipment module (PS3.3 C.7.5.1): this node made the object. */
export function generalEquipment(algorithm: Algorithm): Attributes {
  return {
    Manufacturer: algorithm.manufacturer,
    ManufacturerModelName: algorithm.modelName,
    DeviceSerialNumber: algorithm.deviceSerialNumber,
    SoftwareVersions: [algorithm.softwareVersion, algorithm.algorithmVersion],
    DeviceUID: algorithm.deviceUID,
  };
}

/** Contributing Equipment Sequence (SOP Common, PS3.3 C.12.1): what computed the content, and when (DT). */
export function contributingEquipment(algorithm: Algorithm, contributionDateTime: string): Attributes {
  return {
    ...generalEquipment(algorithm),
    PurposeOfReferenceCodeSequence: [
      { CodeValue: '109102', CodingSchemeDesignator: 'DCM', CodeMeaning: 'Processing Equipment' },
    ],
    ContributionDateTime: contributionDateTime,
    ContributionDescription: `${algorithm.algorithmName}: anomaly detection. Not for diagnostic use.`,
  };
}

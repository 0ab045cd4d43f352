import type { DicomJson } from '../../dicom/dicom-json.ts';
import type { Algorithm, ResultContext } from '../../dicom/result.ts';
import { uidFrom } from '../../dicom/uid.ts';
import { calibrationOf } from '../../inference/bundle/schema.ts';
import type { Bundle } from '../../inference/bundle/schema.ts';
import type { Settings } from '../settings.ts';
import { version } from '../version.ts';

const manufacturer = 'QFAE';
const modelName = 'QFAE PACS node';

/** How results name what made them: the node as equipment, the bundle as algorithm and device. */
export function algorithmOf(bundle: Bundle): Algorithm {
  return {
    manufacturer,
    modelName,
    softwareVersion: version,
    algorithmName: 'QFAE',
    algorithmVersion: bundle.id,
    deviceUID: uidFrom(['device', bundle.id]),
    deviceSerialNumber: bundle.id.slice(bundle.id.lastIndexOf('@') + 1),
  };
}

/** What is common to the objects of one result: the scored instances, the bundle, the settings, the time. */
export function resultContext(
  bundle: Bundle,
  outputs: Settings['outputs'],
  sourceUIDs: string[],
  performedAt: Date,
): ResultContext {
  return {
    sourceUIDs: [...new Set(sourceUIDs)].sort(),
    algorithm: algorithmOf(bundle),
    bundleTitle: bundle.title,
    falsePositiveRate: calibrationOf(bundle).alpha,
    mapThreshold: calibrationOf(bundle).mapThreshold,
    outputSettings: JSON.stringify(outputs),
    performedAt,
  };
}

/** Whether a data set is a result of ours, whichever node wrote it. */
export function isOwnResult(dataset: DicomJson): boolean {
  return dataset['00081090']?.Value?.[0] === modelName && dataset['00080070']?.Value?.[0] === manufacturer;
}

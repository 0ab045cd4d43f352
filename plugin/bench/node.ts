import { benchDicomWeb, type DicomWebBench } from './dicom-web.ts';

/** What the node is measured by; each table is one measurement with its reference. */
export interface NodeBench {
  dicomWeb: DicomWebBench[];
}

/** Measures the node as it is run, in a process of its own, next to the real Orthanc. */
export async function benchNode(options: { megabytes: number; rounds: number }): Promise<NodeBench> {
  return { dicomWeb: await benchDicomWeb(options) };
}

import { benchDicomWeb, type DicomWebBench } from './dicom-web.ts';
import { benchJobs, type JobsBench } from './jobs.ts';
import { benchSearch, type SearchBench } from './search.ts';

/** What the node is measured by; each table is one measurement, most with a reference. */
export interface NodeBench {
  dicomWeb?: DicomWebBench[];
  jobs?: JobsBench[];
  search?: SearchBench[];
}

/** The tables, in the order in which they are measured. */
export const nodeTables = ['dicomWeb', 'jobs', 'search'] as const;

/** Measures the node: its service in a process of its own next to the real Orthanc, its searches by themselves. */
export async function benchNode(options: {
  tables: readonly (typeof nodeTables)[number][];
  megabytes: number;
  rounds: number;
  instances: number[];
}): Promise<NodeBench> {
  return {
    ...(options.tables.includes('dicomWeb') && { dicomWeb: await benchDicomWeb(options) }),
    ...(options.tables.includes('jobs') && { jobs: [await benchJobs()] }),
    ...(options.tables.includes('search') && { search: await benchSearch(options.instances) }),
  };
}

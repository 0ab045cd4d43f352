/** Writes the sample study with a lesion into the folder that it is given, and tells the paths. */
import { parentPort, workerData } from 'node:worker_threads';
import { writeMRSeries } from '../../fixtures/dicom-series.ts';
import { sampleStudies } from '../../fixtures/head-studies.ts';

const series = await writeMRSeries(workerData as string, sampleStudies().abnormal, { name: 'abnormal' });
parentPort!.postMessage(series.map(({ path }) => path));

import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DicomPool } from '../../dicom/pool.ts';
import { fillIndex } from '../../fixtures/filled-index.ts';
import { startPostgres } from '../../fixtures/postgres.ts';
import { openEmbeddedDatabase, type Database } from '../database/database.ts';
import { openPostgres } from '../database/postgres.ts';
import { parseQuery } from '../dicomweb/query.ts';
import { search } from '../dicomweb/search.ts';
import { createLog } from '../log.ts';
import { InstanceStore } from '../store/instance-store.ts';

/** How long searches take in an index of so many instances, in milliseconds; without HTTP. */
export interface SearchBench {
  database: 'PGlite' | 'PostgreSQL';
  instances: number;
  query: string;
  found: number;
  median: number;
  p95: number;
}

/** Instances of a study. */
const perStudy = 100;
/** Times that each search is made. */
const rounds = 20;

const queries = [
  'PatientID=P42',
  'AccessionNumber=A42',
  'StudyDate=20000103',
  'ModalitiesInStudy=PT',
  'PatientName=Sample^42',
  'limit=25',
];

/** Searches for studies, in an index that is filled by SQL; with PostgreSQL where Debian's is installed. */
export async function benchSearch(sizes: number[]): Promise<SearchBench[]> {
  const results: SearchBench[] = [];
  const folder = await mkdtemp(join(tmpdir(), 'qfae-bench-'));
  try {
    for (const instances of sizes) {
      const embedded = await openEmbeddedDatabase(join(folder, String(instances)));
      results.push(...(await benchDatabase('PGlite', embedded, instances)));
      if (!existsSync('/usr/lib/postgresql')) continue;
      const server = await startPostgres();
      try {
        const database = await openPostgres(server.url, createLog('silent'));
        results.push(...(await benchDatabase('PostgreSQL', database, instances)));
      } finally {
        await server.remove();
      }
    }
    return results;
  } finally {
    await rm(folder, { recursive: true });
  }
}

async function benchDatabase(
  name: SearchBench['database'],
  database: Database,
  instances: number,
): Promise<SearchBench[]> {
  const pool = new DicomPool({ threads: 1 });
  try {
    await fillIndex(database, { studies: instances / perStudy, instances: perStudy });
    const context = { database, store: new InstanceStore(database, ''), pool };
    const results: SearchBench[] = [];
    for (const text of queries) {
      const query = parseQuery('study', new URLSearchParams(text), {});
      const times: number[] = [];
      let found = 0;
      for (let round = 0; round < rounds; round++) {
        const start = performance.now();
        const studies = [];
        for await (const study of search(context, query, '')) studies.push(study);
        found = studies.length;
        times.push(performance.now() - start);
      }
      times.sort((a, b) => a - b);
      const [median, p95] = [times[rounds / 2], times[Math.floor(0.95 * rounds)]];
      results.push({ database: name, instances, query: text, found, median, p95 });
    }
    return results;
  } finally {
    await pool.close();
    await database.close();
  }
}

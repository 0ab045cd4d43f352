import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { brainStudy } from '../../fixtures/brain-study.ts';
import { writeMRSeries } from '../../fixtures/dicom-series.ts';
import { startNodeProcess } from '../../fixtures/node-process.ts';
import { stow } from '../../fixtures/stow.ts';

const sampleEveryMs = 5000;

/** What a soak found. */
export interface SoakBench {
  minutes: number;
  studiesSent: number;
  studiesScored: number;
  /** Resident set of the node, averaged over the second quarter of the time: the first one warms up. */
  rssBytes: number;
  /** The same over the last quarter, as a share of `rssBytes`. */
  lastQuarter: number;
  /** The least that V8's heap held in the last quarter of the time, as a share of the least in the second. */
  heapLastQuarter: number;
  /** Least-squares slope of the resident set behind the first quarter, in MiB an hour. */
  slopeMiBPerHour: number;
}

/**
 * Lets studies arrive at a node for so many minutes, one after the other, while its worklist, a picture and its
 * metrics are read, and watches its resident memory (Linux).
 */
export async function benchSoak(minutes: number, everySeconds: number): Promise<SoakBench> {
  const folder = await mkdtemp(join(tmpdir(), 'qfae-soak-'));
  const node = await startNodeProcess({ QFAE_ARRIVAL_QUIET_SECONDS: '1', QFAE_LOG_LEVEL: 'error' });
  const samples: { hours: number; bytes: number }[] = [];
  const heap: typeof samples = [];
  const start = performance.now();
  const elapsed = () => (performance.now() - start) / 3600_000;
  const sampling = setInterval(() => {
    samples.push({ hours: elapsed(), bytes: residentMemory(node.process.pid!) });
  }, sampleEveryMs);
  try {
    let sent = 0;
    while (elapsed() * 60 < minutes) {
      const files = join(folder, String(sent));
      const series = await writeMRSeries(files, brainStudy({ seed: sent, slices: 4 }), {
        name: `Soak${sent}`,
      });
      const answer = await stow(
        node.dicomWebUrl,
        series.map(({ bytes }) => bytes),
      );
      if (answer.status !== 200) throw new Error(`a study was answered ${answer.status}`);
      sent++;
      await rm(files, { recursive: true });
      const { studyInstanceUID } = series[0];
      const metrics = await (await fetch(`${node.url}/metrics`)).text();
      heap.push({
        hours: elapsed(),
        bytes: Number(/^nodejs_heap_size_used_bytes (\d+)/m.exec(metrics)![1]),
      });
      for (const url of [
        `${node.url}/api/v1/studies`,
        `${node.dicomWebUrl}/studies/${studyInstanceUID}/thumbnail`,
      ]) {
        await (await fetch(url)).arrayBuffer();
      }
      await sleep(everySeconds * 1000);
    }
    const answer = await fetch(`${node.url}/api/v1/studies?status=scored&limit=1`);
    const { total } = (await answer.json()) as { total: number };
    const quarter = (n: number, of = samples) =>
      of.filter(({ hours }) => Math.floor((hours * 60 * 4) / minutes) === n).map(({ bytes }) => bytes);
    const rssBytes = mean(quarter(1));
    return {
      minutes,
      studiesSent: sent,
      studiesScored: total,
      rssBytes: Math.round(rssBytes),
      lastQuarter: Number((mean(quarter(3)) / rssBytes).toFixed(3)),
      heapLastQuarter: Number((Math.min(...quarter(3, heap)) / Math.min(...quarter(1, heap))).toFixed(3)),
      slopeMiBPerHour: Number(
        (slope(samples.filter(({ hours }) => hours * 60 > minutes / 4)) / 2 ** 20).toFixed(1),
      ),
    };
  } finally {
    clearInterval(sampling);
    await node.stop();
    await rm(folder, { recursive: true });
  }
}

function residentMemory(pid: number): number {
  const [, kilobytes] = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))!;
  return 1024 * Number(kilobytes);
}

function mean(values: number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** Bytes an hour. */
function slope(samples: { hours: number; bytes: number }[]): number {
  const x = mean(samples.map(({ hours }) => hours));
  const y = mean(samples.map(({ bytes }) => bytes));
  const covariance = samples.reduce((sum, { hours, bytes }) => sum + (hours - x) * (bytes - y), 0);
  return covariance / samples.reduce((sum, { hours }) => sum + (hours - x) ** 2, 0);
}

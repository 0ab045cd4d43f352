import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { writeMRSeries } from '../../fixtures/dicom-series.ts';
import { sampleStudies } from '../../fixtures/head-studies.ts';
import { stow } from '../../fixtures/stow.ts';
import { scoredStudy } from '../../fixtures/worklist.ts';
import { loadSettings } from '../settings.ts';

/** How long scoring may take beyond the quiet time. */
const scoringSeconds = 300;
const secondaryCapture = '1.2.840.10008.5.1.4.1.1.7';

/** Sends two sample studies to the running node, waits for their results, and saves the heatmaps as PNG. */
async function demo(): Promise<void> {
  const settings = loadSettings();
  const node = `http://${settings.http.host}:${settings.http.port}`;
  await fetch(`${node}/healthz`).catch(() => {
    throw new Error(`no node answers at ${node}: start one with npm start`);
  });
  const out = resolve('out/demo');
  await mkdir(out, { recursive: true });

  const folder = await mkdtemp(join(tmpdir(), 'qfae-demo-'));
  const sent: { name: string; study: string }[] = [];
  try {
    for (const [name, study] of Object.entries(sampleStudies())) {
      const series = await writeMRSeries(join(folder, name), study, { name });
      const answer = await stow(
        `${node}/dicom-web`,
        series.map(({ bytes }) => bytes),
      );
      if (answer.status !== 200)
        throw new Error(`the node answered ${answer.status}: ${await answer.text()}`);
      console.log(`sent the ${name} study: ${series.length} instances`);
      sent.push({ name, study: series[0].studyInstanceUID });
    }
  } finally {
    await rm(folder, { recursive: true });
  }

  console.log(`waiting for the quiet time of ${settings.arrival.quietSeconds} s, then for the scores`);
  const seconds = settings.arrival.quietSeconds + scoringSeconds;
  for (const { name, study } of sent) {
    const scored = await scoredStudy(node, study, undefined, seconds);
    if (!scored.score) throw new Error(`the ${name} study is ${scored.status}: ${scored.reason ?? ''}`);
    const { rawScore, percentile, threshold, flagged } = scored.score;
    console.log(
      `${name}: percentile ${percentile.toFixed(1)}, raw score ${rawScore.toPrecision(6)} (threshold ${threshold.toPrecision(6)}), ${flagged ? 'flagged' : 'not flagged'}, by ${scored.bundle}`,
    );
    const heatmaps = scored.results.filter(({ sopClassUID, url }) => url && sopClassUID === secondaryCapture);
    for (const [index, { url }] of heatmaps.entries()) {
      const file = join(out, `${name}-${String(index + 1).padStart(3, '0')}.png`);
      const answer = await fetch(`${node}${url!}/rendered`, { headers: { accept: 'image/png' } });
      if (!answer.ok) throw new Error(`a heatmap was answered ${answer.status}: ${await answer.text()}`);
      await writeFile(file, answer.body!);
      console.log(`  ${file}`);
    }
  }
}

try {
  await demo();
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
}

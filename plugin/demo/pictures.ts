import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium, type Page } from 'playwright-core';
import sharp from 'sharp';
import { writeMRSeries } from '../../fixtures/dicom-series.ts';
import { sampleStudies } from '../../fixtures/head-studies.ts';
import { startNodeProcess } from '../../fixtures/node-process.ts';
import { stow } from '../../fixtures/stow.ts';
import { scoredStudy, type WorklistEntry } from '../../fixtures/worklist.ts';

const secondaryCapture = '1.2.840.10008.5.1.4.1.1.7';
const folder = join(import.meta.dirname, '../../fixtures/pictures');

/**
 * Makes the README's pictures anew: a node with the two sample studies, a heatmap of its own and its dashboard as
 * Chromium shows it.
 */
async function pictures(): Promise<void> {
  const node = await startNodeProcess({ QFAE_ARRIVAL_QUIET_SECONDS: '1', QFAE_BUNDLE: 'brain-t1-demo' });
  const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
  const files = await mkdtemp(join(tmpdir(), 'qfae-pictures-'));
  try {
    let last: WorklistEntry | undefined;
    for (const [name, study] of Object.entries(sampleStudies())) {
      const attributes = { StudyDescription: `Sample head, ${name}` };
      const series = await writeMRSeries(join(files, name), study, { name, attributes });
      await stow(
        node.dicomWebUrl,
        series.map(({ bytes }) => bytes),
      );
      last = await scoredStudy(node.url, series[0].studyInstanceUID, undefined, 600);
    }
    const heatmap = last!.results.find(({ sopClassUID }) => sopClassUID === secondaryCapture)!;
    const rendered = await fetch(`${node.url}${heatmap.url!}/rendered`, { headers: { accept: 'image/png' } });
    await writeFile(join(folder, 'heatmap.png'), rendered.body!);
    const page = await browser.newPage({ viewport: { width: 1280, height: 940 } });
    await page.goto(`${node.url}/`);
    await page.getByText('2 studies').waitFor();
    await page.waitForLoadState('networkidle');
    await take(page, 'worklist', 480);
    await page.goto(`${node.url}/#/study/local/${last!.studyInstanceUID}`);
    await page.locator('.pictures[aria-busy=false]').waitFor();
    await take(page, 'study', 940);
  } finally {
    await browser.close();
    await node.stop();
    await rm(files, { recursive: true });
  }
}

/** The upper part of the page, in few colours: the pictures are committed. */
async function take(page: Page, name: string, height: number): Promise<void> {
  const png = await page.screenshot({ clip: { x: 0, y: 0, width: 1280, height } });
  await sharp(png)
    .png({ palette: true, colours: 64 })
    .toFile(join(folder, `${name}.png`));
}

await pictures();

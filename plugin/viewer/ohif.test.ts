import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium, type Browser, type Page } from 'playwright-core';
import sharp from 'sharp';
import { brainStudy } from '../../fixtures/brain-study.ts';
import { writeMRSeries } from '../../fixtures/dicom-series.ts';
import { startNodeProcess, type NodeProcess } from '../../fixtures/node-process.ts';
import { startOrthanc, type Orthanc } from '../../fixtures/orthanc.ts';
import { describeWith } from '../../fixtures/required-program.ts';
import { stow } from '../../fixtures/stow.ts';
import { scoredStudy } from '../../fixtures/worklist.ts';
import { addBundle, openBundle, promote } from '../../inference/bundle/registry.ts';
import { viewerFolder } from './install.ts';

/** `QFAE_DATA=node_modules/.cache/qfae npm run qfae -- viewer install` puts it there. */
const installed = join(import.meta.dirname, '../../node_modules/.cache/qfae');

/** WebGL on the CPU. */
const software = ['--use-gl=angle', '--use-angle=swiftshader', '--enable-unsafe-swiftshader'];

describeWith(
  ['chromium', 'Orthanc', join(viewerFolder(installed), 'index.html')],
  'OHIF, in Chromium',
  () => {
    let folder: string;
    let orthanc: Orthanc;
    let node: NodeProcess;
    let browser: Browser;
    let page: Page;

    beforeAll(async () => {
      folder = mkdtempSync(join(tmpdir(), 'qfae-ohif-'));
      const data = join(folder, 'data');
      mkdirSync(data);
      symlinkSync(join(installed, 'viewer'), join(data, 'viewer'));
      orthanc = await startOrthanc();
      node = await startNodeProcess({
        QFAE_DATA: data,
        QFAE_ARRIVAL_QUIET_SECONDS: '2',
        QFAE_ORTHANC_URL: orthanc.url,
        QFAE_ORTHANC_POLL_SECONDS: '1',
      });
      // One that finds something in every slice, so that there is something to be seen.
      const { id: _id, calibration, ...manifest } = await openBundle(data, 'untrained');
      const { id } = await addBundle(data, {
        ...manifest,
        calibration: {
          ...calibration!,
          scores: calibration!.scores.map((score) => score / 2),
          mapThreshold: calibration!.mapThreshold / 2,
        },
      });
      await promote(data, id);
      browser = await chromium.launch({
        executablePath: '/usr/bin/chromium',
        args: ['--no-sandbox', ...software],
      });
      page = await browser.newPage({ viewport: { width: 1000, height: 700 } });
      page.setDefaultTimeout(240_000);
    }, 900_000);

    afterAll(async () => {
      await browser.close();
      await node.stop();
      await orthanc.stop();
      rmSync(folder, { recursive: true });
    }, 300_000);

    /** How many pixels amid the viewport, lines and text over the picture included, are of a kind. */
    async function count(kind: (r: number, g: number, b: number) => boolean): Promise<number> {
      const png = await page.screenshot({ clip: { x: 300, y: 140, width: 600, height: 440 } });
      const pixels = await sharp(png).removeAlpha().raw().toBuffer();
      let found = 0;
      for (let i = 0; i < pixels.length; i += 3) if (kind(pixels[i], pixels[i + 1], pixels[i + 2])) found++;
      return found;
    }
    async function shown(kind: (r: number, g: number, b: number) => boolean, least: number) {
      while ((await count(kind)) < least) await page.waitForTimeout(300);
    }
    /** Goes through the slices, on and back, until one shows so much of it. */
    async function found(kind: (r: number, g: number, b: number) => boolean, least: number) {
      await page.mouse.move(600, 350);
      for (let step = 0; (await count(kind)) < least; step++) {
        await page.mouse.wheel(0, step % 8 < 4 ? 100 : -100);
        await page.waitForTimeout(300);
      }
    }
    const grey = (r: number, g: number, b: number) => r === g && g === b && r > 60;
    /** Of the heatmap and of segments; what OHIF writes is bluish. */
    const warm = (r: number, _g: number, b: number) => r - b > 24;
    /** Of outlines. */
    const green = (r: number, g: number, b: number) => g > 200 && r < 80 && b < 80;

    const series = (number: string) =>
      page.locator('[data-cy^="study-browser-thumbnail"]').filter({ hasText: `S:${number}` });

    test.each(['local', 'orthanc'])(
      'shows source, heatmap, segments and report of a study in the archive %s',
      async (archive) => {
        const study = brainStudy({ seed: 6, slices: 4, rows: 96, columns: 96 });
        const files = await writeMRSeries(join(folder, archive), study, { name: archive });
        const sent = await stow(
          archive === 'local' ? node.dicomWebUrl : orthanc.dicomWebUrl,
          files.map(({ bytes }) => bytes),
        );
        expect(sent.status).toBe(200);
        const { studyInstanceUID } = await scoredStudy(node.url, files[0].studyInstanceUID, undefined, 600);

        await page.goto(`${node.url}/#/study/${archive}/${studyInstanceUID}`);
        await page.getByRole('link', { name: 'Open in OHIF' }).click();
        await page.waitForURL(`${node.url}/viewer/${archive}?StudyInstanceUIDs=${studyInstanceUID}`);
        // The tour through OHIF lies over everything.
        await page.addStyleTag({ content: '[class*=shepherd-] { display: none !important }' });
        await series('1').dblclick();
        await shown(grey, 5000);
        expect(await count(warm)).toBe(0);

        await series('9702').dblclick();
        await shown(warm, 5000);

        await series('9703').dblclick();
        await page.getByRole('button', { name: 'Yes' }).click();
        await shown(grey, 5000);
        await found(warm, 200);

        await series('9701').dblclick();
        await found(green, 50); // OHIF draws outlines only when the slice is looked at again
      },
      900_000,
    );
  },
);

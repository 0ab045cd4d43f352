import { createRequire } from 'node:module';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AxeResults } from 'axe-core';
import { chromium, type Browser, type Page } from 'playwright-core';
import { brainStudy } from '../fixtures/brain-study.ts';
import { writeMRSeries } from '../fixtures/dicom-series.ts';
import { startNodeProcess, type NodeProcess } from '../fixtures/node-process.ts';
import { describeWith } from '../fixtures/required-program.ts';
import { stow } from '../fixtures/stow.ts';
import { scoredStudy, worklistEntry } from '../fixtures/worklist.ts';
import { addBundle, openBundle } from '../inference/bundle/registry.ts';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

describeWith(['chromium'], 'the dashboard, in Chromium', () => {
  let folder: string;
  let node: NodeProcess;
  let browser: Browser;
  let page: Page;
  /** StudyInstanceUID of the study that the tests look at. */
  let listed: string;
  /** What the browser complained of. */
  let complaints: string[];

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'qfae-dashboard-'));
    node = await startNodeProcess({
      QFAE_ARRIVAL_QUIET_SECONDS: '1',
      QFAE_RETRAINING_SCHEDULES:
        '{ yearly: { profile: untrained, cron: 0 0 1 1 *, normal: { feedback: true } } }',
    });
    browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
    page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
    page.setDefaultTimeout(240_000);
    page.on('pageerror', (error) => complaints.push(error.message));
    page.on('console', (message) => {
      if (message.type() === 'error') complaints.push(message.text());
    });
  }, 900_000);

  beforeEach(() => {
    complaints = [];
  });

  afterEach(() => {
    expect(complaints).toEqual([]);
  });

  afterAll(async () => {
    await browser.close();
    await node.stop();
    rmSync(folder, { recursive: true });
  }, 300_000);

  /** A small study, sent and scored or failed. */
  async function send(name: string, attributes: Record<string, unknown> = {}) {
    const study = brainStudy({ seed: 1, slices: 4, rows: 96, columns: 96 });
    const series = await writeMRSeries(join(folder, name), study, { name, attributes });
    const answer = await stow(
      node.dicomWebUrl,
      series.map(({ bytes }) => bytes),
    );
    expect(answer.status).toBe(200);
    return scoredStudy(node.url, series[0].studyInstanceUID, undefined, 600);
  }

  const open = async (address: string, heading: string) => {
    await page.goto(`${node.url}/${address}`);
    await page.getByRole('heading', { level: 1, name: heading }).waitFor();
  };

  /** Serious findings of axe on the page as it is. */
  async function seriousFindings(): Promise<string[]> {
    await page.evaluate(axe); // by the debugger, which the page's policy does not bind
    const results = await page.evaluate<AxeResults>('axe.run()');
    return results.violations
      .filter(({ impact }) => impact === 'serious' || impact === 'critical')
      .map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`);
  }

  /** The pixels of a canvas. */
  const pixelsOf = (selector: string) =>
    page.evaluate<number[]>(
      `(() => { const c = document.querySelector('${selector}');
         return [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data] })()`,
    );

  const coloured = (pixels: number[]) =>
    pixels.filter((value, i) => i % 4 === 0 && value !== pixels[i + 2]).length;

  test('says at the first start what it is, and loads a sample study, which turns up in the worklist', async () => {
    await open('', 'Worklist');
    await page.getByRole('link', { name: 'load a sample study' }).click();
    await page.getByText('random weights').waitFor();
    expect(await seriousFindings()).toEqual([]);
    await page.getByRole('button', { name: 'Load a sample study' }).click();
    await page.getByText('The sample is here').waitFor();
    await page.getByRole('link', { name: 'Worklist', exact: true }).click();
    await page.locator('.state.scored').waitFor(); // by the events alone
    await page.getByRole('img', { name: 'heatmap 1' }).waitFor();
    expect(await seriousFindings()).toEqual([]);
  }, 900_000);

  test('lists studies by anomaly, by filters, by keys', async () => {
    const { studyInstanceUID } = await send('Listed', {
      ...{ StudyDescription: 'Another head', PixelSpacing: [2, 1] },
    });
    listed = studyInstanceUID;
    await open('', 'Worklist');
    await page.getByText('2 studies').waitFor();
    const percentiles = (await page.locator('.percentile').allInnerTexts()).map(Number);
    expect(percentiles).toEqual(percentiles.toSorted((a, b) => b - a));
    await page.getByLabel('Study UID').fill(studyInstanceUID);
    await page.keyboard.press('Enter');
    await page.getByText('1 study').waitFor();
    await page.getByRole('heading', { level: 1 }).click();
    await page.keyboard.press('x');
    await page.getByText('2 studies').waitFor();
    await page.keyboard.press('ArrowDown');
    const chosen = await page.locator('tr.chosen a').getAttribute('href');
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: /^Slice/ }).waitFor();
    expect(page.url()).toContain(chosen);
  }, 900_000);

  test('shows slices with the heatmap over them, as the Secondary Capture does, and what the model made of them', async () => {
    await open('', 'Worklist');
    await open(`#/study/local/${listed}?slice=2`, 'Another head');
    await page.getByRole('heading', { name: 'Slice 2 of 4' }).waitFor();
    await page.locator('.pictures[aria-busy=false]').waitFor();
    expect(await page.evaluate("document.querySelector('#slice').width")).toBe(96);
    const { width, height } = (await page.locator('#slice').boundingBox())!;
    expect(height / width).toBeCloseTo(2, 1); // its pixels are as high as two are wide
    await page.getByRole('slider', { name: 'Opacity' }).fill('1');
    await page.getByRole('slider', { name: 'Shown from' }).fill('0');
    const withMap = await pixelsOf('#slice');
    expect(coloured(withMap)).toBeGreaterThan(1000);

    await page.keyboard.press('h');
    const grey = await pixelsOf('#slice');
    expect(coloured(grey)).toBe(0);
    await page.keyboard.press('h');
    expect(await pixelsOf('#slice')).toEqual(withMap);

    await page.getByRole('slider', { name: 'Shown from' }).fill('1.95');
    expect(coloured(await pixelsOf('#slice'))).toBeLessThan(coloured(withMap));

    await page.keyboard.press('r');
    await page.waitForFunction("document.querySelector('#reconstruction').width === 96");
    expect(new Set(await pixelsOf('#reconstruction')).size).toBeGreaterThan(10);

    await page.locator('#slice').hover();
    await page.mouse.wheel(0, 1);
    await page.getByRole('heading', { name: 'Slice 3 of 4' }).waitFor();
    await page.getByRole('heading', { level: 1 }).click(); // sliders keep the keys that move them
    await page.keyboard.press('Home');
    await page.getByRole('heading', { name: 'Slice 1 of 4' }).waitFor();

    const rendered = page.waitForResponse(/slices\/1\/image\?window=/);
    await page.getByRole('slider', { name: 'Window width' }).fill('200');
    expect((await rendered).status()).toBe(200);
    await page.getByText(/Raw scores of 39 normal studies.*this study/).waitFor();
    expect(await seriousFindings()).toEqual([]);
  }, 900_000);

  test('heads each picture with its own slice, while the next one is on its way and where it cannot be read', async () => {
    const answered = Promise.withResolvers<undefined>();
    await page.route('**/slices/3/image', async (request) => {
      await answered.promise;
      await request.fulfill({ status: 502, json: { detail: 'the archive is away' } });
    });
    await open('', 'Worklist');
    await open(`#/study/local/${listed}?slice=2`, 'Another head');
    await page.locator('.pictures[aria-busy=false]').waitFor();
    const second = await pixelsOf('#slice');
    await page.keyboard.press('ArrowDown');
    await page.locator('.pictures[aria-busy=true]').waitFor();
    await page.getByRole('heading', { name: 'Slice 2 of 4' }).waitFor();
    expect(await pixelsOf('#slice')).toEqual(second);

    answered.resolve(undefined);
    await page.getByRole('alert').getByText('the archive is away').waitFor();
    await page.getByRole('heading', { name: 'Slice 3 of 4' }).waitFor();
    await page.locator('.pictures[aria-busy=false]').waitFor();
    expect(new Set(await pixelsOf('#slice'))).toEqual(new Set([0]));
    expect(complaints.splice(0)).toEqual([expect.stringContaining('502')]);
    await page.unroute('**/slices/3/image');
    await page.keyboard.press('ArrowUp');
    await page.getByRole('heading', { name: 'Slice 2 of 4' }).waitFor();
    await page.locator('.pictures[aria-busy=false]').waitFor();
    expect(await pixelsOf('#slice')).toEqual(second);
  }, 900_000);

  test('outlines what lies above the threshold of the map, and shows less than half of that faintly', async () => {
    await open('', 'Worklist');
    // A map of 8 × 8: a quarter, three eighths and one and a half times its threshold.
    const row = (
      await page.evaluate<number[]>(`(async () => {
        const { drawHeatmap } = await import('/heatmap-canvas.js');
        const picture = (values) => {
          const canvas = new OffscreenCanvas(8, 8);
          const context = canvas.getContext('2d');
          values.forEach((value, x) => {
            context.fillStyle = 'rgb(' + [value, value, value].join() + ')';
            context.fillRect(x, 0, 1, 8);
          });
          return canvas.transferToImageBitmap();
        };
        const canvas = document.createElement('canvas');
        drawHeatmap(canvas, picture(Array(8).fill(50)), {
          map: picture([31, 31, 48, 48, 191, 191, 191, 191]),
          gridToSlice: [1, 0, 0, 0, 1, 0],
          style: { scaleEnd: 2, transparentBelow: 0.125, opaqueFrom: 0.25, colours: Array(256).fill([250, 0, 0]).flat() },
          opacity: 0.5,
          threshold: 0.25,
        });
        return [...canvas.getContext('2d').getImageData(0, 4, 8, 1).data];
      })()`)
    ).flatMap((_, i, all) => (i % 4 === 0 ? [all.slice(i, i + 3)] : []));
    expect(row.slice(0, 2)).toEqual(Array(2).fill([50, 50, 50]));
    expect(row[2][0]).toBeGreaterThan(80);
    expect(row[2][0]).toBeLessThan(row[5][0]);
    expect(row[4]).toEqual([90, 235, 255]);
    expect(row[5][0]).toBeCloseTo(150, -0.5);
    expect(row[5][1]).toBeLessThan(30);
  }, 900_000);

  test('keeps what a reader says, with a name', async () => {
    await open(`#/study/local/${listed}`, 'Another head');
    await page.getByRole('button', { name: 'Confirm abnormal' }).click();
    await page.getByRole('alert').getByText('Say who reads').waitFor();
    await page.getByRole('textbox', { name: 'Reader' }).fill('Dr. A');
    await page.getByRole('textbox', { name: 'Comment' }).fill('Seen before.');
    await page.getByRole('button', { name: 'Confirm abnormal' }).click();
    await page.getByText('Kept: abnormal.').waitFor();
    expect(await worklistEntry(node.url, listed)).toMatchObject({
      feedback: { label: 'abnormal', reader: 'Dr. A', comment: 'Seen before.' },
    });
    await page.getByRole('button', { name: 'Take back' }).click();
    await page.getByText('Taken back.').waitFor();
    expect(await worklistEntry(node.url, listed)).toMatchObject({
      feedback: { label: 'withdrawn' },
    });
  }, 900_000);

  test('shows the step at which a job failed, and tries it again', async () => {
    const failed = await send('Broken', { Rows: 200 }); // more than it has pixels for
    expect(failed.status).toBe('failed');
    await open('#/jobs?state=failed', 'Jobs');
    await page.getByText(/failed at step/).waitFor();
    expect(await seriousFindings()).toEqual([]);
    const retried = page.waitForResponse(/\/retry$/);
    // The page reads the jobs again; whether it still sees the job wait or run, nobody can say.
    const readAgain = retried.then(() => page.waitForResponse(/\/jobs\?state=failed/));
    await page.getByRole('button', { name: 'Retry' }).click();
    expect((await retried).status()).toBe(200);
    expect((await readAgain).status()).toBe(200);
    const { studyInstanceUID, finishedAt } = failed;
    const again = await scoredStudy(node.url, studyInstanceUID, (entry) => entry.finishedAt !== finishedAt);
    expect(again.status).toBe('failed');
    await page.getByText('1 job').waitFor();
  }, 900_000);

  test('promotes a bundle, compares it with the one before, and goes back to that', async () => {
    const { id, ...manifest } = await openBundle(node.data, 'untrained');
    const calibration = { ...manifest.calibration!, precision: 'int8' as const };
    const changed = { ...manifest, calibration, title: 'The next one (UNTRAINED)' };
    const next = await addBundle(node.data, changed);
    await open('#/bundles', 'Bundles');
    await page.getByLabel(`Compare ${id}`).check();
    await page.getByLabel(`Compare ${next.id}`).check();
    await page.getByRole('heading', { name: 'Compared' }).waitFor();
    expect(await page.locator('.cards dl').count()).toBe(2);
    expect(await seriousFindings()).toEqual([]);
    await page.getByRole('button', { name: 'Promote' }).click();
    await page.getByText(`Scored by ${next.id}`).waitFor();
    await page.getByRole('button', { name: `Roll back to ${id}` }).click();
    await page.getByText(`Scored by ${id}`).waitFor();
    await page.getByRole('link', { name: 'The next one (UNTRAINED)' }).click();
    await page.getByRole('heading', { level: 1, name: 'The next one' }).waitFor();
    await page.getByText(`bundle ${next.id} is calibrated in int8 and scores in float`).waitFor();
  }, 900_000);

  test('lets schedules of retraining fire now, pause and go on', async () => {
    await open('#/retraining', 'Retraining');
    await page.getByRole('button', { name: 'Pause yearly' }).click();
    await page.getByText('paused').waitFor();
    await page.getByRole('button', { name: 'Resume yearly' }).click();
    await page.getByRole('button', { name: 'Pause yearly' }).waitFor();
    await page.getByRole('button', { name: 'Train now yearly' }).click();
    await page.getByRole('heading', { name: 'What came of them' }).waitFor();
    await page.locator('td[data-label=Schedule]').getByText('yearly').nth(1).waitFor();
    expect(await seriousFindings()).toEqual([]);
  }, 900_000);

  test('fits a phone', async () => {
    await page.setViewportSize({ width: 360, height: 740 });
    for (const [address, heading] of [
      ['#/', 'Worklist'],
      ['#/jobs', 'Jobs'],
      ['#/bundles', 'Bundles'],
      ['#/retraining', 'Retraining'],
      ['#/drift', 'Drift'],
      ['#/start', 'Set up'],
    ]) {
      await open(address, heading);
      expect(await page.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(360);
      expect(await seriousFindings()).toEqual([]);
    }
  }, 900_000);
});

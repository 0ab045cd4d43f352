import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { writeCRImage } from '../../fixtures/dicom-series.ts';
import { startOrthanc } from '../../fixtures/orthanc.ts';
import { describeWith } from '../../fixtures/required-program.ts';
import { OrthancArchive } from '../archive/orthanc.ts';

const plugins = '/usr/share/orthanc/plugins';
const pageAddress = 'http://127.0.0.1:8780")';

describeWith(['Orthanc', 'chromium', `${plugins}/libOrthancPython.so`], 'Orthanc Explorer', () => {
  test("shows the percentile of a study, on a button that opens the node's page on it", async () => {
    const folder = mkdtempSync(join(tmpdir(), 'qfae-button-'));
    const node = createServer((_request, response) => response.end('the node')).listen(0, '127.0.0.1');
    await once(node, 'listening');
    const url = `http://127.0.0.1:${(node.address() as AddressInfo).port}`;
    const script = readFileSync(new URL('hint.py', import.meta.url), 'utf8');
    expect(script).toContain(pageAddress);
    const PythonScript = join(folder, 'hint.py');
    writeFileSync(PythonScript, script.replace(pageAddress, `${url}")`));
    const Plugins = ['libOrthancDicomWeb.so', 'libOrthancPython.so'].map((name) => join(plugins, name));
    const orthanc = await startOrthanc({ configuration: { Plugins, PythonScript } });
    const archive = new OrthancArchive({
      url: orthanc.url,
      dicomWebRoot: '/dicom-web',
      pollSeconds: 5,
      timeoutSeconds: 60,
    });
    const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
    try {
      const { bytes, studyInstanceUID } = await writeCRImage(folder, { name: 'Button' });
      const sent = await fetch(`${orthanc.url}/instances`, { method: 'POST', body: Buffer.from(bytes) });
      const { ParentStudy } = (await sent.json()) as { ParentStudy: string };
      const score = { rawScore: 3, pValue: 0.025, percentile: 97.5, threshold: 2, flagged: true };
      await archive.note(studyInstanceUID, score);

      const page = await browser.newPage();
      page.setDefaultTimeout(240_000);
      await page.goto(`${orthanc.url}/app/explorer.html#study?uuid=${ParentStudy}`);
      await page.getByText('QFAE: percentile 97.50').waitFor();
      const opened = page.waitForEvent('popup');
      await page.locator('#qfae').click();
      await (await opened).waitForURL(`${url}/#/study/orthanc/${studyInstanceUID}`);
    } finally {
      await browser.close();
      await archive.close();
      await orthanc.stop();
      node.closeAllConnections();
      node.close();
      rmSync(folder, { recursive: true });
    }
  }, 900_000);
});

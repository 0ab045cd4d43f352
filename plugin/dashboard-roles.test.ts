import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium, type Browser, type Page } from 'playwright-core';
import { brainStudy } from '../fixtures/brain-study.ts';
import { writeMRSeries } from '../fixtures/dicom-series.ts';
import { startNodeProcess, type NodeProcess } from '../fixtures/node-process.ts';
import { describeWith } from '../fixtures/required-program.ts';
import { addBundle, openBundle } from '../inference/bundle/registry.ts';
import { createToken, tokenFolder } from './access/token.ts';
import type { Role } from './access/role.ts';

describeWith(['chromium'], 'the dashboard where one signs in', () => {
  let folder: string;
  let node: NodeProcess;
  let browser: Browser;
  const tokens = {} as Record<Role, string>;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'qfae-dashboard-roles-'));
    node = await startNodeProcess({
      QFAE_ACCESS_AUTHENTICATION: 'on',
      QFAE_ARRIVAL_QUIET_SECONDS: '1',
      QFAE_RETRAINING_SCHEDULES:
        '{ yearly: { profile: untrained, cron: 0 0 1 1 *, normal: { feedback: true } } }',
    });
    for (const role of ['reader', 'sender', 'admin'] as const) {
      const name = `the ${role}`;
      tokens[role] = (await createToken(tokenFolder(node.data), { name, roles: [role] })).token;
    }
    const { id: _id, ...manifest } = await openBundle(node.data, 'untrained');
    await addBundle(node.data, { ...manifest, title: 'The next one (UNTRAINED)' });
    const study = brainStudy({ seed: 1, slices: 2, rows: 48, columns: 48 });
    // More than it has pixels for: its job fails.
    const [{ bytes }] = await writeMRSeries(folder, study, { name: 'Broken', attributes: { Rows: 200 } });
    const sent = await fetch(`${node.dicomWebUrl}/studies`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${tokens.sender}`,
        'content-type': 'multipart/related; type="application/dicom"; boundary=b',
      },
      body: Buffer.concat([
        Buffer.from('--b\r\nContent-Type: application/dicom\r\n\r\n'),
        bytes,
        Buffer.from('\r\n--b--\r\n'),
      ]),
    });
    expect(sent.status).toBe(200);
    browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
  }, 900_000);

  afterAll(async () => {
    await browser.close();
    await node.stop();
    rmSync(folder, { recursive: true });
  }, 300_000);

  /** Signs in on the way to a page, and is brought there. */
  async function signedIn(role: Role, address: string): Promise<Page> {
    const page = await (await browser.newContext()).newPage();
    page.setDefaultTimeout(240_000);
    await page.goto(`${node.url}/${address}`);
    await page.getByLabel('Token').fill(tokens[role]);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.waitForURL(`${node.url}/${address}`);
    return page;
  }

  /** The pages on which something can be changed, and a sign that they have been read. */
  const pages = [
    ['#/jobs?state=failed', /failed at step/, 'Retry'],
    ['#/bundles', /The next one/, 'Promote'],
    ['#/retraining', /0 0 1 1/, 'Train now yearly'],
  ] as const;

  test('a reader sees what there is, and no button of an administrator', async () => {
    const page = await signedIn('reader', pages[0][0]);
    for (const [address, sign] of pages) {
      await page.goto(`${node.url}/${address}`);
      await page.getByText(sign).first().waitFor();
      expect(await page.locator('main').getByRole('button').allInnerTexts()).toEqual([]);
    }
    await page.goto(`${node.url}/#/start`);
    await page.getByRole('button', { name: 'Load a sample study', disabled: true }).waitFor();
    await page.getByRole('button', { name: 'the reader: sign out' }).click();
    await page.getByLabel('Token').waitFor();
  }, 900_000);

  test('an administrator has the buttons', async () => {
    const page = await signedIn('admin', pages[0][0]);
    for (const [address, sign, button] of pages) {
      await page.goto(`${node.url}/${address}`);
      await page.getByText(sign).first().waitFor();
      await page.getByRole('button', { name: button }).first().waitFor();
    }
    await page.goto(`${node.url}/#/start`);
    await page.getByRole('button', { name: 'Load a sample study', disabled: false }).waitFor();
  }, 900_000);
});

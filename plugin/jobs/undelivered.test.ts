import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeCTSeries } from '../../fixtures/dicom-series.ts';
import { startNodeProcess, type NodeProcess } from '../../fixtures/node-process.ts';
import { stow } from '../../fixtures/stow.ts';
import { scoredStudy, worklistEntry } from '../../fixtures/worklist.ts';

/** How often a node fetched a study and chose of it what it scores. */
const chosenIn = (node: NodeProcess) => node.log().filter(({ msg }) => msg === 'series is chosen').length;

test('a result waits for an archive that is away, also beyond the end of the process, and the study is not scored again', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'qfae-undelivered-'));
  const quiet = { QFAE_ARRIVAL_QUIET_SECONDS: '1' };
  const away = { ...quiet, QFAE_DATA: join(folder, 'away') };
  let archive = await startNodeProcess(away);
  await archive.stop();
  const data = join(folder, 'data');
  mkdirSync(data);
  writeFileSync(join(data, 'rules.yaml'), 'rules:\n  - name: all\n    to: [local, away]\n');
  const environment = {
    ...quiet,
    QFAE_DATA: data,
    QFAE_ARCHIVES: JSON.stringify({ away: { type: 'dicomweb', url: archive.dicomWebUrl } }),
  };
  let node = await startNodeProcess(environment);
  try {
    const series = await writeCTSeries(join(folder, 'ct'), {
      name: 'Waits',
      slices: 2,
      rows: 64,
      columns: 64,
    });
    const study = series[0].studyInstanceUID;
    const sent = await stow(
      node.dicomWebUrl,
      series.map(({ bytes }) => bytes),
    );
    expect(sent.status).toBe(200);
    const failed = () => node.log().filter(({ msg }) => msg === 'scoring failed and will be tried again');
    while (failed().length < 2) await new Promise((resolve) => setTimeout(resolve, 200));
    expect(await worklistEntry(node.url, study)).toMatchObject({ status: 'queued', step: 'store' });

    const chosen = chosenIn(node);
    await node.stop('SIGKILL');
    node = await startNodeProcess(environment);
    archive = await startNodeProcess({ ...away, QFAE_HTTP_PORT: new URL(archive.url).port });
    const { results } = await scoredStudy(node.url, study, ({ status }) => status === 'scored', 240);
    expect(chosen + chosenIn(node)).toBe(1);
    const found = await fetch(`${archive.dicomWebUrl}/studies/${study}/instances`);
    expect(await found.json()).toHaveLength(results.length);
    await node.stop(); // a job removes its folders after the study is scored
    for (const name of ['work', 'undelivered']) expect(readdirSync(join(data, name))).toEqual([]);
  } finally {
    await node.stop();
    await archive.stop();
    rmSync(folder, { recursive: true });
  }
}, 600_000);

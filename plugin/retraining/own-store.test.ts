import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { writeCRImage } from '../../fixtures/dicom-series.ts';
import { startNodeProcess, type NodeProcess } from '../../fixtures/node-process.ts';
import { stow } from '../../fixtures/stow.ts';
import { scoredStudy } from '../../fixtures/worklist.ts';
import { tokenFolder } from '../access/token.ts';

let folder: string;
let node: NodeProcess;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'qfae-own-store-'));
  node = await startNodeProcess({ QFAE_ARRIVAL_QUIET_SECONDS: '0.5', QFAE_INFERENCE_PROVIDER: 'cpu' });
}, 300_000);
afterAll(async () => {
  await node.stop();
  rmSync(folder, { recursive: true, force: true });
});

const api = async <T>(path: string, body?: object) => {
  const post = body && {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  };
  const answer = await fetch(`${node.url}/api/v1${path}`, post);
  expect(answer.status).toBe(200);
  return (await answer.json()) as T;
};

async function arrive(seed: number): Promise<string> {
  const { bytes, studyInstanceUID } = await writeCRImage(join(folder, `${seed}`), {
    name: `Own ${seed}`,
    seed,
  });
  expect((await stow(node.dicomWebUrl, [bytes])).status).toBe(200);
  return studyInstanceUID;
}

test('a retraining from what readers of this node called normal; its candidate scores in shadow and writes nothing', async () => {
  const studies: string[] = [];
  for (let seed = 0; seed < 12; seed++) studies.push(await arrive(seed));
  for (const study of studies) await scoredStudy(node.url, study, undefined, 300);
  for (const [i, study] of studies.entries()) {
    const label = i === 0 ? 'abnormal' : 'normal';
    await api(`/studies/local/${study}/feedback`, { label, reader: 'Dr. A' });
  }

  // The node runs, and has the database open.
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [
      new URL('../cli/qfae.ts', import.meta.url).pathname,
      ...['retrain', '--profile', 'untrained', '--archive', 'local', '--feedback'],
      ...['--epochs', '1', '--batch-size', '4', '--rate', '0.001', '--alpha', '0.5', '--threads', '1'],
      ...['--no-promote', '--shadow', '--json'],
    ],
    {
      env: { PATH: process.env['PATH'], QFAE_DATA: node.data, QFAE_HTTP_PORT: new URL(node.url).port },
    },
  );
  const made = JSON.parse(stdout.trim().split('\n').at(-1)!) as { id: string; outcome: string };
  expect(made).toMatchObject({ type: 'bundle', outcome: 'candidate' });
  expect(readdirSync(tokenFolder(node.data))).toEqual([]); // by which it read the store
  const manifest = readFileSync(join(node.data, 'runs/retrain-untrained-1/studies.jsonl'), 'utf8');
  const records = manifest
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { study: string; archive: string; why: string[]; leftOut?: string });
  expect(records.map(({ study }) => study).sort()).toEqual(studies.slice(1).sort());
  for (const { archive, why, leftOut } of records) {
    expect([archive, why, leftOut]).toEqual([
      'local',
      [expect.stringMatching(/^a reader said normal/)],
      undefined,
    ]);
  }

  const next = await arrive(99);
  const scored = await scoredStudy(node.url, next, undefined, 300);
  expect(scored).toMatchObject({ status: 'scored', bundle: expect.stringMatching(/^untrained@/) as string });
  expect(scored.bundle).not.toBe(made.id);
  interface Detail {
    shadow: { bundle: string; score: { percentile: number } }[];
  }
  let detail: Detail;
  for (let i = 0; i < 1500; i++) {
    detail = await api<Detail>(`/studies/local/${next}`);
    if (detail.shadow.length > 0) break;
    await sleep(200);
  }
  expect(detail!.shadow).toEqual([
    expect.objectContaining({
      bundle: made.id,
      score: expect.objectContaining({ flagged: expect.any(Boolean) }),
    }),
  ]);
  expect(await api(`/bundles/${made.id}`)).toMatchObject({
    promoted: false,
    shadow: { active: true, studies: 1 },
  });
  // What the archive holds is the image, and what the promoted bundle said of it.
  const answer = await fetch(`${node.dicomWebUrl}/studies/${next}`);
  const stored = Buffer.from(await answer.arrayBuffer()).toString('latin1');
  expect(stored).toContain(scored.bundle);
  expect(stored).not.toContain(made.id);
  const instances = (await (
    await fetch(`${node.dicomWebUrl}/studies/${next}/instances`)
  ).json()) as unknown[];
  expect(instances).toHaveLength(1 + scored.results.length);
}, 900_000);

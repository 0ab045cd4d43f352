import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DicomJson } from '../../dicom/dicom-json.ts';
import { brainStudy } from '../../fixtures/brain-study.ts';
import { writeCRImage, writeMRSeries } from '../../fixtures/dicom-series.ts';
import { freePort } from '../../fixtures/free-port.ts';
import { startNodeProcess } from '../../fixtures/node-process.ts';
import { startOrthanc, type Orthanc } from '../../fixtures/orthanc.ts';
import { describeWith } from '../../fixtures/required-program.ts';
import { until } from '../../fixtures/until.ts';
import { scoredStudy } from '../../fixtures/worklist.ts';

const defaultAddress = 'http://127.0.0.1:8780/hooks/orthanc';
const plugins = '/usr/share/orthanc/plugins';

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'qfae-hint-'));
});

afterAll(() => {
  rmSync(folder, { recursive: true });
});

/** The script as it is, with another address of the node; and Orthanc's settings for it. */
function script(name: 'hint.lua' | 'hint.py', node: string) {
  const text = readFileSync(new URL(name, import.meta.url), 'utf8');
  expect(text).toContain(defaultAddress);
  const path = join(mkdtempSync(join(folder, 'script-')), name);
  writeFileSync(path, text.replace(defaultAddress, `${node}/hooks/orthanc`));
  return name === 'hint.lua'
    ? { LuaScripts: [path] }
    : {
        Plugins: [join(plugins, 'libOrthancDicomWeb.so'), join(plugins, 'libOrthancPython.so')],
        PythonScript: path,
      };
}

function send(orthanc: Orthanc, directory: string): void {
  const args = ['+sd', '-aec', orthanc.aeTitle, '127.0.0.1', String(orthanc.dicomPort), directory];
  expect(spawnSync('storescu', args).status).toBe(0);
}

describeWith(['Orthanc', 'storescu'], 'hints of Orthanc', () => {
  test.each(['hint.lua', 'hint.py'] as const)('%s tells the node that something arrived', async (name) => {
    const hints: string[] = [];
    const node = createServer((request, response) => {
      hints.push(`${request.method} ${request.url}`);
      // Python's thread may wait; Lua would make Orthanc wait.
      if (name === 'hint.lua') response.writeHead(202).end();
    }).listen(0, '127.0.0.1');
    await once(node, 'listening');
    const { port } = node.address() as AddressInfo;
    const orthanc = await startOrthanc({ configuration: script(name, `http://127.0.0.1:${port}`) });
    try {
      const directory = join(folder, name);
      await writeCRImage(directory, { name });
      send(orthanc, directory);
      await until('a hint', () => hints.length > 0);
      expect(hints[0]).toBe('POST /hooks/orthanc');
      expect((await fetch(`${orthanc.url}/statistics`)).status).toBe(200);
    } finally {
      await orthanc.stop();
      node.closeAllConnections();
      node.close();
    }
  });

  test('a hint is enough to be scored; where Orthanc refuses deletion, the old result is rejected', async () => {
    const port = await freePort();
    const noDeletion = join(folder, 'no-deletion.lua');
    writeFileSync(noDeletion, "function IncomingHttpRequestFilter(method) return method ~= 'DELETE' end\n");
    const { LuaScripts = [] } = script('hint.lua', `http://127.0.0.1:${port}`);
    const orthanc = await startOrthanc({
      configuration: { LuaScripts: [...LuaScripts, noDeletion], StableAge: 2 },
    });
    const data = join(folder, 'data');
    mkdirSync(data);
    const node = await startNodeProcess({
      QFAE_DATA: data,
      QFAE_HTTP_PORT: String(port),
      QFAE_ARRIVAL_QUIET_SECONDS: '3', // longer than any pause between two objects of storescu
      QFAE_ORTHANC_URL: orthanc.url,
      QFAE_ORTHANC_POLL_SECONDS: '3600',
    });
    try {
      // The first poll is at the start; it has to be over.
      await until('the node is ready', async () => (await fetch(`${node.url}/readyz`)).ok);
      const [{ studyInstanceUID: study }] = await writeMRSeries(
        join(folder, 'first'),
        brainStudy({ seed: 1, slices: 3 }),
        { name: 'Hinted' },
      );
      send(orthanc, join(folder, 'first'));
      const before = await scoredStudy(node.url, study);
      await writeMRSeries(join(folder, 'more'), brainStudy({ seed: 1, slices: 4 }), { name: 'Hinted' });
      send(orthanc, join(folder, 'more'));
      const after = await scoredStudy(
        node.url,
        study,
        ({ requestedAt }) => requestedAt !== before.requestedAt,
      );

      const answer = await fetch(`${orthanc.dicomWebUrl}/studies/${study}/metadata`);
      const instances = (await answer.json()) as DicomJson[];
      const uids = instances.map((instance) => instance['00080018'].Value![0]);
      for (const { sopInstanceUID } of [...before.results, ...after.results])
        expect(uids).toContain(sopInstanceUID);
      const notes = instances.filter((instance) => instance['00080060'].Value![0] === 'KO');
      expect(notes).toHaveLength(1);
      const rejected = JSON.stringify(notes[0]['0040A375']);
      for (const { sopInstanceUID } of before.results) expect(rejected).toContain(sopInstanceUID);
      for (const { sopInstanceUID } of after.results) expect(rejected).not.toContain(sopInstanceUID);
      expect(uids).toHaveLength(4 + before.results.length + after.results.length + 1);
    } finally {
      await node.stop();
      await orthanc.stop();
    }
  }, 300_000);
});

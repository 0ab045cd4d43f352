import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parse } from 'yaml';
import { freePort } from '../fixtures/free-port.ts';
import { startNodeProcess } from '../fixtures/node-process.ts';
import { startOrthanc } from '../fixtures/orthanc.ts';
import { describeWith } from '../fixtures/required-program.ts';
import { requiresAuthentication } from './access/exposure.ts';
import { loadSettings } from './settings.ts';

/** Docker cannot run everywhere; that every path and command in these files works can be seen without it. */
const root = join(import.meta.dirname, '..');
const read = (file: string) => readFileSync(join(root, file), 'utf8');
const dockerfile = read('Dockerfile');

interface Compose {
  services: Record<
    string,
    {
      environment?: Record<string, string>;
      secrets?: (string | { source: string; target: string })[];
      volumes?: string[];
      healthcheck?: { test: string[] };
    }
  >;
  volumes: Record<string, object>;
  secrets: Record<string, { file: string }>;
}
const compose = parse(read('docker-compose.yml')) as Compose;

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'qfae-packaging-'));
  execFileSync(join(root, 'packaging/make-secrets.sh'), { cwd: folder });
});

afterAll(() => {
  rmSync(folder, { recursive: true });
});

/** What the build stage copies from the sources. */
const copied = [...dockerfile.matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap(([, sources]) =>
  sources.split(' '),
);

/** The environment of the image. */
const imageEnvironment = Object.fromEntries(
  [...dockerfile.matchAll(/^(?:ENV| {3}) (\w+)=(\S+)/gm)].map(([, name, value]) => [name, value]),
);

/** The words of `HEALTHCHECK … CMD [...]` and `CMD [...]`. */
const [healthCheck, command] = [...dockerfile.matchAll(/CMD (\[.*\])/g)].map(
  ([, words]) => JSON.parse(words) as string[],
);

test('the image holds all that runs in it: it starts, asks who it is, and its health check passes', async () => {
  expect(copied.length).toBeGreaterThanOrEqual(10);
  const image = join(folder, 'image');
  for (const path of copied) cpSync(join(root, path), join(image, path), { recursive: true });
  symlinkSync(join(root, 'node_modules'), join(image, 'node_modules'));
  expect(command).toEqual(['node', 'plugin/cli/qfae.ts', 'serve']); // as startNodeProcess runs it

  const { QFAE_HTTP_HOST: host, PATH: path } = imageEnvironment;
  expect([host, path.split(':')[0]]).toEqual(['0.0.0.0', '/opt/qfae/node_modules/.bin']);
  const environment = { QFAE_HTTP_PORT: String(await freePort()), QFAE_HTTP_BEHIND_PROXY: 'true' };
  const node = await startNodeProcess(environment, undefined, join(image, command[1]));
  try {
    expect((await fetch(`${node.url}/api/v1/studies`)).status).toBe(401);
    const [, ...words] = healthCheck;
    const check = () =>
      spawnSync(process.execPath, words, { cwd: image, env: { ...environment, QFAE_DATA: node.data } })
        .status;
    expect(check()).toBe(0);
    await node.stop();
    expect(check()).toBe(1);
  } finally {
    await node.stop();
  }
}, 300_000);

test('the CUDA provider is installed by a command that there is', () => {
  const [, line] = /then node (plugin\/cli\/qfae\.ts gpu install .*); fi/.exec(dockerfile)!;
  const words = line.replace('"$CUDA"', '12').split(' ');
  const { status, stderr } = spawnSync(process.execPath, [...words, '--from', '/no/such/package'], {
    cwd: root,
    encoding: 'utf8',
  });
  expect([status, stderr]).toEqual([1, expect.stringContaining('/no/such/package')]);
});

test('docker-compose: the node takes its settings and secrets, and may be reached', () => {
  const { qfae } = compose.services;
  const secrets = new Map(
    Object.entries(compose.secrets).map(([name, { file }]) => [`/run/secrets/${name}`, join(folder, file)]),
  );
  for (const file of secrets.values()) expect([file, existsSync(file)]).toEqual([file, true]);
  const environment = Object.fromEntries(
    Object.entries({ ...imageEnvironment, ...qfae.environment })
      .filter(([name]) => name.startsWith('QFAE_'))
      .map(([name, value]) => [name, secrets.get(value) ?? value]),
  );
  expect(Object.values(qfae.environment!).filter((value) => secrets.has(value)).length).toBe(
    qfae.secrets!.length,
  );
  const settings = loadSettings(environment);
  expect(requiresAuthentication(settings)).toBe(true);
  expect(settings.database.url).toMatch(/^postgres:\/\/qfae:[\w=-]{32}@postgres:5432\/qfae$/);
  expect(settings.orthanc?.password).toMatch(/^[\w=-]{32}$/);
  expect(read('packaging/make-secrets.sh')).toContain('mkdir -m 700');
  expect(() =>
    execFileSync(join(root, 'packaging/make-secrets.sh'), { cwd: folder, stdio: 'ignore' }),
  ).toThrow();
});

test('docker-compose: every volume, file and secret that a service names is there', () => {
  for (const { volumes = [], secrets = [] } of Object.values(compose.services)) {
    for (const [source] of volumes.map((volume) => volume.split(':'))) {
      const known = source.startsWith('./') ? existsSync(join(root, source)) : source in compose.volumes;
      expect([source, known]).toEqual([source, true]);
    }
    for (const secret of secrets) {
      expect(compose.secrets).toHaveProperty(typeof secret === 'string' ? secret : secret.source);
    }
  }
  expect(compose.services['postgres'].healthcheck?.test[1]).toBe('pg_isready');
});

describeWith(['Orthanc'], "docker-compose: Orthanc's configuration", () => {
  test('serves DICOMweb to the node with its password, and nobody else', async () => {
    const { Plugins, StorageDirectory, IndexDirectory, DicomPort, HttpPort, ...configuration } = JSON.parse(
      read('packaging/orthanc.json'),
    ) as Record<string, unknown>;
    const users = JSON.parse(readFileSync(join(folder, 'secrets/orthanc_users.json'), 'utf8')) as object;
    expect([DicomPort, HttpPort]).toEqual([4242, 8042]);
    const orthanc = await startOrthanc({
      configuration: { ...configuration, ...users, RemoteAccessAllowed: false },
    }).catch((error: unknown) => error as Error);
    if (orthanc instanceof Error) throw orthanc;
    try {
      const password = readFileSync(join(folder, 'secrets/orthanc_password'), 'utf8');
      const authorization = `Basic ${Buffer.from(`qfae:${password}`).toString('base64')}`;
      const url = `${orthanc.dicomWebUrl}/studies`;
      expect((await fetch(url)).status).toBe(401);
      expect((await fetch(url, { headers: { authorization } })).status).toBe(200);
    } finally {
      await orthanc.stop();
    }
  });
});

describeWith(['systemd-analyze'], 'the systemd unit', () => {
  test('is one that systemd takes, of programs that are there', () => {
    const unit = join(folder, 'qfae.service');
    writeFileSync(unit, read('packaging/qfae.service').replaceAll('/opt/qfae', root));
    const { status, stderr } = spawnSync('systemd-analyze', ['verify', unit], { encoding: 'utf8' });
    expect([status, stderr]).toEqual([0, '']);
    expect(read('packaging/qfae.service')).toMatch(/^ExecStart=\S+\/node \S+\/plugin\/cli\/qfae\.ts serve$/m);
  });
});

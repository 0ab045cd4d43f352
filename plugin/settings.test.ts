import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadSettings } from './settings.ts';

function fileWith(text: string): string {
  const file = join(mkdtempSync(join(tmpdir(), 'qfae-settings-')), 'qfae.yaml');
  writeFileSync(file, text);
  return file;
}

test('an empty file gives the defaults of the design', () => {
  const settings = loadSettings({ QFAE_CONFIG: fileWith('') });
  expect(settings.http).toEqual({
    host: '127.0.0.1',
    port: 8780,
    behindProxy: false,
    allowedHosts: [],
    allowedOrigins: [],
  });
  expect(settings.arrival.quietSeconds).toBe(60);
  expect(settings.data).toBe('./data');
  expect(settings.outputs).toEqual({
    sr: 'comprehensive-3d',
    sc: 'flagged',
    seg: 'on',
    pmap: 'off',
    ko: 'off',
    pr: 'off',
  });
});

test('a variable overrides the file', () => {
  const settings = loadSettings({
    QFAE_CONFIG: fileWith('arrival:\n  quietSeconds: 5\nhttp: { port: 1 }\n'),
    QFAE_ARRIVAL_QUIET_SECONDS: '2.5',
    QFAE_ORTHANC_URL: 'http://127.0.0.1:8042',
    QFAE_ORTHANC_PASSWORD: '0123',
    QFAE_ARCHIVES: '{vna: {type: dicom, aeTitle: VNA, host: 10.0.0.5}}',
    QFAE_C_STORE_AE_TITLE: 'SCORER',
  });
  expect(settings.archives['vna']).toMatchObject({ aeTitle: 'VNA', port: 104, callingAETitle: 'QFAE' });
  expect(settings.cStore).toMatchObject({ enabled: false, aeTitle: 'SCORER', port: 11112 });
  expect(settings.arrival.quietSeconds).toBe(2.5);
  expect(settings.http.port).toBe(1);
  expect(settings.orthanc?.url).toBe('http://127.0.0.1:8042');
  expect(settings.orthanc?.password).toBe('0123');
});

test.each([
  ['http:\n  host: localhost\n  port: 99999\n', /qfae\.yaml:3: http\.port/],
  ['arrival:\n  quietSecond: 3\n', /qfae\.yaml:2: arrival: .*quietSecond/],
  ['viewer:\n  roots: { pacs: /dicom-web }\n', /qfae\.yaml:2: viewer\.roots\.pacs: no archive of this name/],
  ['viewer:\n  roots: { pacs: dicom-web }\n', /qfae\.yaml:2: viewer\.roots\.pacs: /],
  ['outputs:\n  sc: sometimes\n', /qfae\.yaml:2: outputs\.sc/],
  ['outputs:\n  seg: flagged\n', /qfae\.yaml:2: outputs\.seg/],
  ['http: [1, 2\n', /qfae\.yaml:\d+: /],
  [
    'orthanc:\n  url: http://me:secret@127.0.0.1:8042\n',
    /^(?!.*secret).*qfae\.yaml:2: orthanc\.url: give username/,
  ],
  ['orthanc:\n  url: 127.0.0.1:8042\n', /qfae\.yaml:2: orthanc\.url: Invalid URL/],
  ['http:\n  allowedOrigins: [viewer]\n', /qfae\.yaml:2: http\.allowedOrigins\.0: Invalid URL/],
  ['cStore:\n  enabled: true\n', /qfae\.yaml:\d+: cStore\.senders: name those who may send/],
  ['cStore:\n  aeTitle: AN_AE_TITLE_TOO_LONG\n', /qfae\.yaml:2: cStore\.aeTitle: not an AE title/],
  ['archives:\n  local:\n    type: dicom\n', /qfae\.yaml:\d+: archives\.local: this name is taken/],
  ['archives:\n  pacs:\n    type: dicom\n    aeTitle: A\n', /qfae\.yaml:\d+: archives\.pacs\.host/],
])('a wrong file is refused with line and reason: %j', (text, message) => {
  expect(() => loadSettings({ QFAE_CONFIG: fileWith(text) })).toThrow(message);
});

test('a wrong variable and an unknown one are named', () => {
  const file = fileWith('');
  expect(() => loadSettings({ QFAE_CONFIG: file, QFAE_HTTP_PORT: 'x' })).toThrow(
    /QFAE_HTTP_PORT: http\.port/,
  );
  expect(() => loadSettings({ QFAE_CONFIG: file, QFAE_HTTP_PROT: '1' })).toThrow(
    /QFAE_HTTP_PROT: no such setting/,
  );
  expect(() => loadSettings({ QFAE_CONFIG: '/does/not/exist.yaml' })).toThrow(/no such file/);
});

test('secrets may stand in files, named by the settings or by variables', () => {
  const secret = fileWith('not-to-be-logged\n');
  const settings = loadSettings({
    QFAE_CONFIG: fileWith(
      `orthanc: { url: http://127.0.0.1:8042, passwordFile: ${secret} }\narchives: { pacs: { type: dicomweb, url: http://127.0.0.1:1, tokenFile: ${secret} } }\n`,
    ),
    QFAE_NODE_TOKEN_FILE: secret,
    QFAE_DATABASE_URL_FILE: fileWith('postgres://q:0123@db/qfae'),
  });
  expect(settings.orthanc?.password).toBe('not-to-be-logged');
  expect(settings.archives['pacs']).toMatchObject({ token: 'not-to-be-logged' });
  expect(settings.node.token).toBe('not-to-be-logged');
  expect(settings.database.url).toBe('postgres://q:0123@db/qfae');
});

test.each([
  ['orthanc: { url: http://a, passwordFile: /no/such/file }', /^orthanc\.passwordFile: ENOENT/],
  ['orthanc: { url: http://a, password: a, passwordFile: b }', /^orthanc\.passwordFile: .* is given too/],
  ['node: { tokenFile: 5 }', /^node\.tokenFile: not the name/],
  ['orthanc: { urlFile: /dev/null }', /orthanc: .*urlFile/],
  ['database: { urlFile: /dev/null }', /^database\.urlFile: \/dev\/null is empty/],
])('a file of a secret that cannot be had is named: %s', (text, message) => {
  expect(() => loadSettings({ QFAE_CONFIG: fileWith(text) })).toThrow(message);
});

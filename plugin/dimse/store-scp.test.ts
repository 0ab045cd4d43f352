import { execFile } from 'node:child_process';
import { once } from 'node:events';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
} from 'node:fs';
import { connect, createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { DicomPool } from '../../dicom/pool.ts';
import { writeCRImage, writeMultiframe } from '../../fixtures/dicom-series.ts';
import { describeWith } from '../../fixtures/required-program.ts';
import { transferSyntaxes } from '../../fixtures/transfer-syntax.ts';
import { until } from '../../fixtures/until.ts';
import { auditFolder } from '../access/audit-log.ts';
import { arrivals } from '../arrival/arrivals.ts';
import { openEmbeddedDatabase, type Database } from '../database/database.ts';
import { createLog } from '../log.ts';
import { StoreRoom } from '../store/room.ts';
import { settingsSchema } from '../settings.ts';
import { InstanceStore } from '../store/instance-store.ts';
import { startStoreScp, type StoreScp } from './store-scp.ts';

const run = promisify(execFile);

/** The program's exit status and all that it wrote. */
const outcome = async (program: string, args: string[]) => {
  const { code, stdout, stderr } = await run(program, args).then(
    ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
    (error: unknown) => error as { code: number; stdout: string; stderr: string },
  );
  return { code, text: `${stdout}${stderr}` };
};

describeWith(['storescu', 'echoscu', 'dcmsend', 'dcmodify'], 'the receiver of C-STORE', () => {
  let folder: string;
  let incoming: string;
  let database: Database;
  let pool: DicomPool;
  let store: InstanceStore;
  let room: StoreRoom;
  let scp: StoreScp;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'qfae-c-store-'));
    incoming = join(folder, 'incoming');
    mkdirSync(incoming);
    database = await openEmbeddedDatabase(join(folder, 'database'));
    pool = new DicomPool({ threads: 1 });
    mkdirSync(join(folder, 'instances'));
    room = new StoreRoom(join(folder, 'instances'), { storeBytes: 2 ** 30, freeBytes: 0 });
    store = new InstanceStore(database, join(folder, 'instances'), room);
    const { cStore } = settingsSchema.parse({
      cStore: {
        enabled: true,
        port: 0,
        senders: [
          { aeTitle: 'CT1', address: '127.0.0.1' },
          { aeTitle: 'FAR', address: '10.1.2.3' },
        ],
        maxAssociations: 2,
      },
    });
    scp = await startStoreScp(
      {
        data: folder,
        store,
        pool,
        incoming,
        limits: { instanceBytes: 1_000_000 },
        room,
        log: createLog('silent'),
      },
      cStore,
    );
  });

  afterAll(async () => {
    await scp.close();
    await pool.close();
    await database.close();
    rmSync(folder, { recursive: true });
  });

  const to = (calling = 'CT1', called = 'QFAE') => [
    '-aet',
    calling,
    '-aec',
    called,
    '127.0.0.1',
    String(scp.port),
  ];

  /** Waits for a line in the audit log: the sender may be done before the connection has closed here. */
  const audited = (line: object) =>
    until(JSON.stringify(line), () => {
      const files = existsSync(auditFolder(folder)) ? readdirSync(auditFolder(folder)) : [];
      const text = files.map((file) => readFileSync(join(auditFolder(folder), file), 'utf8')).join('');
      return text.includes(JSON.stringify(line).slice(1, -1));
    });

  test('answers C-ECHO to those allowed, and refuses others and other AE titles', async () => {
    expect(await outcome('echoscu', to())).toEqual({ code: 0, text: '' });
    for (const [calling, called, reason] of [
      ['CT2', 'QFAE', 'Calling AE Title Not Recognized'],
      ['FAR', 'QFAE', 'Calling AE Title Not Recognized'],
      ['CT1', 'OTHER', 'Called AE Title Not Recognized'],
    ]) {
      const { code, text } = await outcome('echoscu', to(calling, called));
      expect(code).not.toBe(0);
      expect(text).toContain(reason);
    }
    await audited({ who: 'CT1', from: '127.0.0.1', what: 'C-STORE: 0 stored, 0 refused', outcome: 0 });
    const what = 'association refused: the sender is not among those allowed';
    await audited({ who: 'CT2', from: '127.0.0.1', what, outcome: 1 });
  });

  test.each([
    ['explicitVRLittleEndian', ['-xe']],
    ['implicitVRLittleEndian', ['-xi']],
    ['rle', ['-xr']],
    ['jpegLosslessSV1', ['-xs']],
    ['jpegLS', ['-xt']],
    ['jpeg2000Lossless', ['-xv']],
    ['jpeg2000', ['-xw']],
  ] as const)('stores %s as it was sent', async (name, option) => {
    const image = await writeCRImage(join(folder, name), {
      name,
      transferSyntaxUID: transferSyntaxes[name],
    });
    expect(await outcome('storescu', [...option, ...to(), image.path])).toEqual({ code: 0, text: '' });
    const [stored] = await store.find(image.studyInstanceUID);
    expect(stored.transferSyntaxUID).toBe(transferSyntaxes[name]);
    const file = store.path(stored);
    expect((await pool.readFrame(file, 1)).bytes).toEqual((await pool.readFrame(image.path, 1)).bytes);
    const [arrival] = (await arrivals(database)).filter(
      ({ studyInstanceUID }) => studyInstanceUID === image.studyInstanceUID,
    );
    expect(arrival).toMatchObject({ archive: 'local', instances: 1, sourceAETitle: 'CT1' });
  });

  test('stores many objects of one association, and the same one twice as one', async () => {
    const before = await room.left();
    const images = join(folder, 'many');
    const written = [];
    for (let seriesNumber = 1; seriesNumber <= 12; seriesNumber++) {
      written.push(await writeCRImage(images, { name: 'Many', seriesNumber }));
    }
    for (const program of [
      ['dcmsend', '+sd'],
      ['storescu', '+sd'],
    ]) {
      expect((await outcome(program[0], [program[1], ...to(), images])).code).toBe(0);
    }
    const stored = await store.find(written[0].studyInstanceUID);
    expect(stored).toHaveLength(12);
    const bytes = stored.reduce((sum, instance) => sum + statSync(store.path(instance)).size, 0);
    expect(before - (await room.left())).toBe(bytes);
    expect(readdirSync(incoming)).toEqual([]);
  });

  test('stores a result of another node without it being due for scoring', async () => {
    const attributes = { Manufacturer: 'QFAE', ManufacturerModelName: 'QFAE PACS node' };
    const result = await writeCRImage(join(folder, 'result'), { name: 'Result', attributes });
    expect(await outcome('storescu', [...to(), result.path])).toEqual({ code: 0, text: '' });
    expect(await store.find(result.studyInstanceUID)).toHaveLength(1);
    const waiting = (await arrivals(database)).map(({ studyInstanceUID }) => studyInstanceUID);
    expect(waiting).not.toContain(result.studyInstanceUID);
  });

  test('refuses an object of which another is stored under its UID, and takes the same one from elsewhere', async () => {
    const image = await writeCRImage(join(folder, 'first'), { name: 'First' });
    const file = join(folder, 'stowed');
    copyFileSync(image.path, file);
    await store.add(file, await pool.readHeader(file), { arrival: false });
    const [stored] = await store.find(image.studyInstanceUID);
    const before = readFileSync(store.path(stored));
    expect(await outcome('storescu', [...to(), image.path])).toEqual({ code: 0, text: '' });
    await run('dcmodify', ['-nb', '-i', '(0008,1030)=Other', image.path]);
    const { code, text } = await outcome('storescu', ['-v', ...to(), image.path]);
    expect(code).not.toBe(0);
    expect(text).toMatch(/Received Store Response \(.*0x0?111.*\)/i);
    expect(readFileSync(store.path(stored)).equals(before)).toBe(true);
    expect(readdirSync(incoming)).toEqual([]);
  });

  test('refuses an object that is too large, and takes the next one', async () => {
    const large = await writeMultiframe(join(folder, 'large'), {
      name: 'Large',
      rows: 512,
      columns: 512,
      frames: 8,
    });
    const small = await writeCRImage(join(folder, 'small'), { name: 'Small' });
    const { text } = await outcome('storescu', ['-v', '-nh', ...to(), large.path, small.path]);
    expect(text).toContain('OutOfResources');
    expect(await store.find(large.studyInstanceUID)).toEqual([]);
    expect(await store.find(small.studyInstanceUID)).toHaveLength(1);
    expect(readdirSync(incoming)).toEqual([]);
    const what = `C-STORE: 1 stored, 1 refused; studies ${small.studyInstanceUID}`;
    await audited({ who: 'CT1', from: '127.0.0.1', what, outcome: 1 });
  });

  test('keeps nothing of an object that is broken off, and takes it when it comes again', async () => {
    const image = await writeMultiframe(join(folder, 'broken'), {
      name: 'Broken',
      rows: 512,
      columns: 512,
      frames: 3,
    });
    let passed = 0;
    const proxy = createServer((near) => {
      const far = connect(scp.port, '127.0.0.1');
      far.on('error', () => near.destroy()).on('close', () => near.destroy());
      near
        .on('error', () => far.destroy())
        .on('data', (data) => {
          far.write(data);
          if ((passed += data.length) > 400_000) far.destroy();
        });
      far.pipe(near);
    }).listen(0, '127.0.0.1');
    await once(proxy, 'listening');
    const { port } = proxy.address() as AddressInfo;
    const args = to();
    const { code } = await outcome('storescu', [...args.slice(0, -1), String(port), image.path]);
    proxy.close();
    expect(code).not.toBe(0);
    expect(passed).toBeGreaterThan(400_000);
    expect(await store.find(image.studyInstanceUID)).toEqual([]);
    expect((await outcome('storescu', [...args, image.path])).code).toBe(0);
    expect(await store.find(image.studyInstanceUID)).toHaveLength(1);
    await until('the receiver hears that it was broken off', () => readdirSync(incoming).length === 0);
  });

  test('an association that the sender aborts leaves what it has stored', async () => {
    const image = await writeCRImage(join(folder, 'abort'), { name: 'Abort' });
    await outcome('storescu', ['--abort', ...to(), image.path]);
    expect(await store.find(image.studyInstanceUID)).toHaveLength(1);
  });

  test.each([
    ['what is no PDU', Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')],
    ['a PDU longer than allowed', Buffer.from([1, 0, 0x7f, 0xff, 0xff, 0xff])],
    ['data without an association', Buffer.from([4, 0, 0, 0, 0, 6, 0, 0, 0, 2, 1, 3])],
    ['a request that is none', Buffer.from([1, 0, 0, 0, 0, 2, 0, 1])],
  ])('closes a connection that sends %s', async (_what, bytes) => {
    const socket = connect(scp.port, '127.0.0.1');
    socket.on('error', () => undefined).resume();
    socket.write(bytes);
    await once(socket, 'close');
    expect((await outcome('echoscu', to())).code).toBe(0);
  });

  test('takes no more associations at once than the settings allow', async () => {
    const held = [connect(scp.port, '127.0.0.1'), connect(scp.port, '127.0.0.1')];
    await Promise.all(held.map((socket) => once(socket, 'connect')));
    expect((await outcome('echoscu', to())).text).toContain('Local Limit Exceeded');
    await Promise.all(held.map((socket) => once(socket.resume().end(), 'close')));
    expect((await outcome('echoscu', to())).code).toBe(0);
  });
});

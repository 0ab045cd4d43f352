import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ResultObject } from '../../dicom/result.ts';
import { dataSetOffset } from '../../dicom/writing/file-head.ts';
import { writeCRImage, writeMultiframe, type WrittenInstance } from '../../fixtures/dicom-series.ts';
import { freePort } from '../../fixtures/free-port.ts';
import { startOrthanc } from '../../fixtures/orthanc.ts';
import { describeWith } from '../../fixtures/required-program.ts';
import { PartlyStoredError } from '../archive/archive.ts';
import { DicomDestination } from './dicom-destination.ts';

const crImage = '1.2.840.10008.5.1.4.1.1.1';
const usMultiframe = '1.2.840.10008.5.1.4.1.1.3.1';

let folder: string;
let first: ResultObject;
let second: ResultObject;
let other: ResultObject;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'qfae-destination-'));
  const asResult = (sopClassUID: string, instance: WrittenInstance) => ({ sopClassUID, ...instance });
  first = asResult(crImage, await writeCRImage(join(folder, 'a'), { name: 'Sent' }));
  second = asResult(crImage, await writeCRImage(join(folder, 'b'), { name: 'Sent', seriesNumber: 2 }));
  other = asResult(usMultiframe, await writeMultiframe(join(folder, 'c'), { name: 'Sent', seriesNumber: 3 }));
});

afterAll(() => {
  rmSync(folder, { recursive: true });
});

function destination(port: number, aeTitle: string, callingAETitle = 'QFAE') {
  return new DicomDestination('vna', {
    type: 'dicom',
    aeTitle,
    host: '127.0.0.1',
    port,
    callingAETitle,
    timeoutSeconds: 60,
  });
}

describeWith(['Orthanc'], 'C-STORE to Orthanc', () => {
  test('what was sent is found by C-FIND; who is unknown is told so', async () => {
    const orthanc = await startOrthanc({ modalities: { QFAE: 104 } });
    try {
      const { dicomPort, aeTitle } = orthanc;
      const known = destination(dicomPort, aeTitle);
      expect(await known.instances(first.studyInstanceUID)).toEqual([]);
      await known.store([first, second, other]);
      await known.store([first]); // once more does no harm
      const found = await known.instances(first.studyInstanceUID);
      expect(new Set(found)).toEqual(
        new Set(
          [first, second, other].map(({ sopInstanceUID, seriesInstanceUID, sopClassUID }) => ({
            sopInstanceUID,
            seriesInstanceUID,
            sopClassUID,
          })),
        ),
      );
      await expect(destination(dicomPort, aeTitle, 'NOBODY').store([first])).rejects.toThrow(
        /vna: 1 of 1 objects were not stored, first 2\.25\.\d+: .*does not know our AE title/,
      );
      await expect(destination(dicomPort, 'WRONG').instances('1.2.3')).rejects.toThrow(/another AE title/);
    } finally {
      await orthanc.stop();
    }
  });
});

describeWith(['storescp'], 'C-STORE to a receiver that answers no query', () => {
  /** DCMTK's storescp with further arguments; `received` are the files that it wrote. */
  const startReceiver = async (name: string, ...args: string[]) => {
    const port = await freePort();
    const received = join(folder, name);
    mkdirSync(received);
    const child = spawn('storescp', ['-od', received, ...args, String(port)], { stdio: 'ignore' });
    for (;;) {
      const socket = connect(port, '127.0.0.1');
      const listens = await once(socket, 'connect').then(
        () => true,
        () => false,
      );
      socket.destroy();
      if (listens) break;
      if (child.exitCode !== null) throw new Error(`storescp ended with ${child.exitCode}`);
      await sleep(50);
    }
    const stop = async () => {
      if (child.exitCode !== null) return;
      child.kill();
      await once(child, 'exit');
    };
    return { port, received, stop };
  };

  test('takes the data sets byte for byte, and cannot say what it has', async () => {
    const receiver = await startReceiver('whole', '+B');
    try {
      const archive = destination(receiver.port, 'ANY');
      await archive.store([first, other]);
      const dataSets = readdirSync(receiver.received).map((file) => {
        const bytes = readFileSync(join(receiver.received, file));
        return bytes.subarray(dataSetOffset(bytes));
      });
      for (const { bytes } of [first, other]) {
        const dataSet = Buffer.from(bytes).subarray(dataSetOffset(bytes));
        expect(dataSets.some((each) => each.equals(dataSet))).toBe(true);
      }
      expect(await archive.instances(first.studyInstanceUID)).toBeUndefined();
    } finally {
      await receiver.stop();
    }
  });

  test('that takes no explicit VR is told apart from one that is away', async () => {
    const receiver = await startReceiver('implicit', '+xi');
    const archive = destination(receiver.port, 'ANY');
    try {
      await expect(archive.store([first])).rejects.toThrow(/is not accepted in explicit VR little endian/);
      expect(readdirSync(receiver.received)).toEqual([]);
    } finally {
      await receiver.stop();
    }
    await expect(archive.store([first])).rejects.toThrow(/ANY at 127\.0\.0\.1:\d+: .*ECONNREFUSED/);
  });

  test('that aborts has stored nothing', async () => {
    const receiver = await startReceiver('aborting', '--abort-after');
    try {
      const error = await destination(receiver.port, 'ANY')
        .store([first, second])
        .catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(PartlyStoredError);
      expect(error).toMatchObject({ stored: [], message: expect.stringContaining('aborted') });
    } finally {
      await receiver.stop();
    }
  });
});

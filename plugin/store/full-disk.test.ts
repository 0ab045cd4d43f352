import { execFile, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { writeCRImage, writeMultiframe, type WrittenInstance } from '../../fixtures/dicom-series.ts';
import { startNodeProcess, type NodeProcess } from '../../fixtures/node-process.ts';
import { describeWith } from '../../fixtures/required-program.ts';
import { stow } from '../../fixtures/stow.ts';
import { until } from '../../fixtures/until.ts';
import { writeWhole } from './room.ts';

const disk = mkdtempSync(join(tmpdir(), 'qfae-disk-'));
const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=320m', 'tmpfs', disk]).status === 0;
if (!mounted) rmdirSync(disk);

const free = () => {
  const { bavail, bsize } = statfsSync(disk);
  return bavail * bsize;
};

(mounted
  ? describeWith
  : (_programs: string[], ...rest: Parameters<typeof describe.skip>) => {
      describe.skip(...rest);
    })(['storescu'], 'a node whose disk is full (skipped where nothing can be mounted)', () => {
  const reserve = 40 * 2 ** 20;
  let folder: string;
  let node: NodeProcess;
  const environment = {
    QFAE_JOBS_WORK: 'false',
    QFAE_C_STORE_ENABLED: 'true',
    QFAE_C_STORE_PORT: '0',
    QFAE_C_STORE_SENDERS: '[{ aeTitle: CT1 }]',
  };

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'qfae-full-'));
    node = await startNodeProcess({
      QFAE_DATA: join(disk, 'data'),
      QFAE_LIMITS_FREE_BYTES: String(reserve),
      ...environment,
    });
  }, 300_000);

  afterAll(async () => {
    await node.stop();
    spawnSync('umount', [disk]);
    rmdirSync(disk);
    rmSync(folder, { recursive: true });
  });

  const store = async (name: string) => {
    const image = await writeCRImage(join(folder, name), { name });
    const answer = await stow(node.dicomWebUrl, [image.bytes]);
    return { ...image, status: answer.status, body: await answer.text() };
  };
  /** Sends a file by C-STORE; returns the status that storescu tells. */
  const send = async (file: string) => {
    const { port } = await until('C-STORE listens', () =>
      node.log().find(({ msg }) => msg === 'C-STORE is listening'),
    );
    const args = ['-v', '-nh', '-aet', 'CT1', '-aec', 'QFAE', '127.0.0.1', String(port), file];
    const { stdout, stderr } = await promisify(execFile)('storescu', args).catch(
      (error: unknown) => error as { stdout: string; stderr: string },
    );
    return /Received Store Response \((.*)\)/.exec(`${stdout}${stderr}`)?.[1];
  };
  const outOfResources = 'Refused: OutOfResources';
  /** C-STORE leaves the file's meta information to the receiver: the pixels are compared. */
  const isStored = async ({
    studyInstanceUID,
    pixels,
  }: Pick<WrittenInstance, 'studyInstanceUID' | 'pixels'>) => {
    const answer = await fetch(`${node.dicomWebUrl}/studies/${studyInstanceUID}`);
    return Buffer.from(await answer.arrayBuffer()).includes(Buffer.from(pixels.buffer));
  };

  test('refuses by 507 what would take the reserve, and stores again when there is room', async () => {
    const before = await store('Before');
    expect(before.status).toBe(200);
    writeFileSync(join(disk, 'other'), Buffer.alloc(free() - reserve));
    const refused = await store('Refused');
    expect(refused.status).toBe(507);
    expect(refused.body).toContain(`"00081197":{"vr":"US","Value":[42752]}`);
    expect(await isStored(before)).toBe(true);
    const sent = await writeCRImage(join(folder, 'sent'), { name: 'Sent' });
    expect(await send(sent.path)).toBe(outOfResources);
    rmSync(join(disk, 'other'));
    expect([await send(sent.path), await isStored(sent)]).toEqual(['Success', true]);
    const after = await store('After');
    expect([after.status, await isStored(after), await isStored(refused)]).toEqual([200, true, false]);
  });

  test('another program takes the last byte: nothing is corrupt afterwards, nor after a restart', async () => {
    const before = await store('Kept');
    const filler = Buffer.alloc(2 ** 20);
    let n = 0;
    const fill = (left: number) => {
      for (; free() > left; n++) {
        try {
          writeFileSync(
            join(disk, `filler-${n}`),
            filler.subarray(0, Math.min(filler.length, free() - left)),
          );
        } catch (error) {
          // The node writes too: it may have been faster.
          if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
        }
      }
    };
    const large = await writeMultiframe(join(folder, 'large'), {
      ...{ name: 'Large', rows: 512, columns: 512, frames: 8 },
    });
    fill(2 ** 20);
    expect(await send(large.path)).toBe(outOfResources);
    expect(readdirSync(join(node.data, 'incoming'))).toEqual([]);
    const file = await open(join(disk, 'filler-short'), 'w');
    await expect(writeWhole(file, [filler, filler])).rejects.toThrow('ENOSPC');
    await file.close();
    rmSync(join(disk, 'filler-short'));
    fill(0);
    expect((await store('Full')).status).toBe(507);
    expect(await send(before.path)).toBe(outOfResources);
    expect((await fetch(`${node.url}/healthz`)).status).toBe(200);
    while (n > 0) rmSync(join(disk, `filler-${--n}`), { force: true });

    expect((await fetch(`${node.url}/readyz`)).status).toBe(200);
    expect(await isStored(before)).toBe(true);
    expect([await send(large.path), await isStored(large)]).toEqual(['Success', true]);
    const after = await store('Again');
    expect(after.status).toBe(200);
    await node.stop();
    node = await startNodeProcess({
      QFAE_DATA: join(disk, 'data'),
      QFAE_LIMITS_FREE_BYTES: '0',
      QFAE_LIMITS_STORE_BYTES: String(after.bytes.length),
      ...environment,
    });
    expect([await isStored(before), await isStored(after)]).toEqual([true, true]);
    expect((await store('BeyondQuota')).status).toBe(507);
    expect(await send(before.path)).toBe(outOfResources);
  }, 300_000);
});

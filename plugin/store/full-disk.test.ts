import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeCRImage } from '../../fixtures/dicom-series.ts';
import { startNodeProcess, type NodeProcess } from '../../fixtures/node-process.ts';
import { stow } from '../../fixtures/stow.ts';

const disk = mkdtempSync(join(tmpdir(), 'qfae-disk-'));
const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=320m', 'tmpfs', disk]).status === 0;
if (!mounted) rmdirSync(disk);

const free = () => {
  const { bavail, bsize } = statfsSync(disk);
  return bavail * bsize;
};

(mounted ? describe : describe.skip)(
  'a node whose disk is full (skipped where nothing can be mounted)',
  () => {
    const reserve = 40 * 2 ** 20;
    let folder: string;
    let node: NodeProcess;

    beforeAll(async () => {
      folder = mkdtempSync(join(tmpdir(), 'qfae-full-'));
      node = await startNodeProcess({
        QFAE_DATA: join(disk, 'data'),
        QFAE_LIMITS_FREE_BYTES: String(reserve),
        QFAE_JOBS_WORK: 'false',
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
    const isStored = async ({ studyInstanceUID, bytes }: { studyInstanceUID: string; bytes: Uint8Array }) => {
      const answer = await fetch(`${node.dicomWebUrl}/studies/${studyInstanceUID}`);
      return Buffer.from(await answer.arrayBuffer()).includes(Buffer.from(bytes));
    };

    test('refuses by 507 what would take the reserve, and stores again when there is room', async () => {
      const before = await store('Before');
      expect(before.status).toBe(200);
      writeFileSync(join(disk, 'other'), Buffer.alloc(free() - reserve));
      const refused = await store('Refused');
      expect(refused.status).toBe(507);
      expect(refused.body).toContain(`"00081197":{"vr":"US","Value":[42752]}`);
      expect(await isStored(before)).toBe(true);
      rmSync(join(disk, 'other'));
      const after = await store('After');
      expect([after.status, await isStored(after), await isStored(refused)]).toEqual([200, true, false]);
    }, 120_000);

    test('another program takes the last byte: nothing is corrupt afterwards, nor after a restart', async () => {
      const before = await store('Kept');
      const filler = Buffer.alloc(2 ** 20);
      let n = 0;
      for (; free() > 0; n++)
        writeFileSync(join(disk, `filler-${n}`), filler.subarray(0, Math.min(filler.length, free())));
      expect((await store('Full')).status).toBe(507);
      expect((await fetch(`${node.url}/healthz`)).status).toBe(200);
      while (n > 0) rmSync(join(disk, `filler-${--n}`));

      expect((await fetch(`${node.url}/readyz`)).status).toBe(200);
      expect(await isStored(before)).toBe(true);
      const after = await store('Again');
      expect(after.status).toBe(200);
      await node.stop();
      node = await startNodeProcess({
        QFAE_DATA: join(disk, 'data'),
        QFAE_LIMITS_FREE_BYTES: '0',
        QFAE_LIMITS_STORE_BYTES: String(after.bytes.length),
        QFAE_JOBS_WORK: 'false',
      });
      expect([await isStored(before), await isStored(after)]).toEqual([true, true]);
      expect((await store('BeyondQuota')).status).toBe(507);
    }, 300_000);
  },
);

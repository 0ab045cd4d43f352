import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FolderLockedError, lockFolder } from './folder-lock.ts';

const folder = () => mkdtempSync(join(tmpdir(), 'qfae-lock-'));

test('a second holder is refused until the first releases', async () => {
  const data = folder();
  const lock = await lockFolder(data);
  await expect(lockFolder(data)).rejects.toThrow(FolderLockedError);
  lock.release();
  (await lockFolder(data)).release();
});

test('a lock does not outlive a killed process', async () => {
  const data = folder();
  const script = `import(${JSON.stringify(new URL('folder-lock.ts', import.meta.url).href)})
    .then((m) => m.lockFolder(${JSON.stringify(data)})).then(() => { console.log('locked'); setInterval(() => {}, 1e6); })`;
  const holder = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(holder.stdout, 'data');
  await expect(lockFolder(data)).rejects.toThrow(FolderLockedError);
  holder.kill('SIGKILL');
  await once(holder, 'exit');
  (await lockFolder(data)).release();
});

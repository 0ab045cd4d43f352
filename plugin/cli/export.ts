import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { Command } from 'commander';
import sharp from 'sharp';
import { SliceCache } from '../../training/slice-cache.ts';
import { auditCommand } from '../access/audit-log.ts';
import { openDataFolder } from '../data-folder/data-folder.ts';
import { loadSettings } from '../settings.ts';

/** The slice caches that a run may have, and what their pictures are called. */
const caches = { 'normal-slices': 'normal', 'abnormal-slices': 'abnormal' };

/** `qfae export`: the slices of a run as pictures that name nobody. */
export function exportCommand(): Command {
  return new Command('export')
    .description(
      'write the slices of a run as PNG, numbered by patient: without UIDs, names, dates and pseudonyms',
    )
    .argument('<run>', 'a folder in runs/ of the data folder')
    .requiredOption('--out <dir>', 'a new folder')
    .action(async (run: string, { out }: { out: string }) => {
      const { root } = openDataFolder(loadSettings().data);
      if (!/^[\w-]+$/.test(run)) throw new Error(`${run} is not the name of a run`);
      const found = Object.entries(caches).filter(([name]) => existsSync(join(root, 'runs', run, name)));
      if (found.length === 0) throw new Error(`runs/${run} in ${root} holds no slices`);
      if (existsSync(out)) throw new Error(`${out} exists already`);
      const unfinished = `${resolve(out)}.${randomUUID()}`;
      let slices = 0;
      try {
        for (const [name, label] of found) {
          slices += await exportCache(join(root, 'runs', run, name), join(unfinished, label));
        }
        await rename(unfinished, out);
      } finally {
        await rm(unfinished, { recursive: true, force: true });
      }
      auditCommand(root, `export ${run}`);
      console.log(
        `${slices} slices in ${out}. Text that is burned into pixels is still there: look at them.`,
      );
    });
}

/** Writes `patient-0001/slice-001.png` …, patients in random order; returns how many slices. */
async function exportCache(folder: string, out: string): Promise<number> {
  const cache = await SliceCache.open(folder);
  try {
    const byPatient = [...Map.groupBy(cache.slices, ({ patient }) => patient).values()]
      .map((slices) => ({ slices, place: crypto.randomUUID() }))
      .sort((a, b) => (a.place < b.place ? -1 : 1));
    for (const [i, { slices }] of byPatient.entries()) {
      const patient = join(out, `patient-${String(i + 1).padStart(4, '0')}`);
      await mkdir(patient, { recursive: true });
      for (const [j, slice] of slices.entries()) {
        const { pixels, rows, columns } = await cache.read(slice);
        const png = await sharp(pixels, { raw: { width: columns, height: rows, channels: 1 } })
          .toColourspace('b-w')
          .png()
          .toBuffer();
        await writeFile(join(patient, `slice-${String(j + 1).padStart(3, '0')}.png`), png);
      }
    }
    return cache.slices.length;
  } finally {
    await cache.close();
  }
}

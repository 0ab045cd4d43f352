import { spawnSync } from 'node:child_process';
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DicomPool } from '../../dicom/pool.ts';
import { writeCTSeries } from '../../fixtures/dicom-series.ts';
import { encodeTransferSyntax, transferSyntaxes } from '../../fixtures/transfer-syntax.ts';

/** Read, decode, modality LUT and window of a whole series. */
export interface DicomBench {
  syntax: string;
  reader: string;
  framesPerSecond: number;
  /** Of the files as they are stored. */
  MBPerSecond: number;
  /** Frames a second next to pydicom; absent where pydicom has no decoder for the syntax here. */
  timesPydicom?: number;
}

/** Of the images: rows and columns, 12 bits in 16. */
const side = 512;
/** Slices that differ; the series is made of copies of them, for encoding takes longer than what is measured. */
const distinct = 8;
/** For images of 8 bits. */
const withoutBench = new Set(['jpegBaseline']);

/** The same work as `readGreySlice`, on one thread, by pydicom; prints the seconds or why it cannot. */
const pydicomScript = `
import sys, time, warnings, numpy, pydicom
from pydicom.pixel_data_handlers.util import apply_modality_lut, apply_voi_lut
warnings.simplefilter('ignore')
def read(path):
    d = pydicom.dcmread(path)
    x = apply_voi_lut(apply_modality_lut(d.pixel_array, d), d)
    # 12 bits stored with a rescale intercept of -1024: pydicom windows to -1024...3071
    return numpy.rint((x + 1024) * (255 / 4095)).astype('uint8')
read(sys.argv[1])
start = time.perf_counter()
for path in sys.argv[1:]: read(path)
print(time.perf_counter() - start)
`;

/** Every syntax that fixtures are written in, read by the pool on one and two threads, pydicom and DCMTK. */
export async function benchDicom({
  slices,
  rounds,
}: {
  slices: number;
  rounds: number;
}): Promise<DicomBench[]> {
  const folder = await mkdtemp(join(tmpdir(), 'qfae-bench-'));
  try {
    const series = await writeCTSeries(join(folder, 'explicit'), {
      rows: side,
      columns: side,
      slices: distinct,
    });
    const results: DicomBench[] = [];
    for (const [syntax, uid] of Object.entries(transferSyntaxes)) {
      if (withoutBench.has(syntax)) continue;
      const files: Uint8Array[] = [];
      for (const { bytes } of series) files.push(await encodeTransferSyntax(bytes, uid));
      const paths = Array.from({ length: slices }, (_, index) => join(folder, `${index}.dcm`));
      for (const [index, path] of paths.entries()) await writeFile(path, files[index % distinct]);
      results.push(...(await benchSyntax(syntax, paths, rounds)));
    }
    return results;
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** The fastest of the rounds; in a round each reader gets its turn, so that all see the same machine. */
async function benchSyntax(syntax: string, paths: string[], rounds: number): Promise<DicomBench[]> {
  const readers: Record<string, () => Promise<number | undefined> | number | undefined> = {
    'qfae, 1 thread': () => readByPool(paths, 1),
    'qfae, 2 threads': () => readByPool(paths, 2),
    pydicom: () => Number(output('/usr/bin/python3', ['-c', pydicomScript, ...paths])) || undefined,
    'DCMTK dcm2pnm, a process a file': () => readByDcmtk(paths),
  };
  const fastest = new Map<string, number>();
  for (let round = 0; round < rounds; round++)
    for (const [name, read] of Object.entries(readers)) {
      const seconds = await read();
      if (seconds !== undefined) fastest.set(name, Math.min(seconds, fastest.get(name) ?? Infinity));
    }
  let size = 0;
  for (const path of paths) size += (await stat(path)).size;
  const reference = fastest.get('pydicom');
  return [...fastest].map(([reader, seconds]) => ({
    syntax,
    reader,
    framesPerSecond: paths.length / seconds,
    MBPerSecond: size / 1e6 / seconds,
    ...(reference !== undefined && { timesPydicom: reference / seconds }),
  }));
}

/** After one slice on each thread: starting a thread is the node's cost, not the series'. */
async function readByPool(paths: string[], threads: number): Promise<number> {
  const pool = new DicomPool({ threads });
  try {
    await Promise.all(Array.from({ length: threads }, () => pool.readSlice(paths[0], 1)));
    const start = performance.now();
    await Promise.all(paths.map((path) => pool.readSlice(path, 1)));
    return (performance.now() - start) / 1000;
  } finally {
    await pool.close();
  }
}

/** DCMTK has a program for native and RLE files and one for each family of JPEG; none reads JPEG 2000. */
function readByDcmtk(paths: string[]): number | undefined {
  const start = performance.now();
  for (const path of paths)
    if (
      !['dcm2pnm', 'dcmj2pnm', 'dcml2pnm'].some(
        (program) => output(program, ['+Wi', '1', path, '/dev/null']) !== undefined,
      )
    )
      return undefined;
  return (performance.now() - start) / 1000;
}

/** What a program prints; undefined where it fails or is not installed. */
function output(program: string, args: string[]): string | undefined {
  const { status, stdout } = spawnSync(program, args, { encoding: 'utf8' });
  return status === 0 ? stdout : undefined;
}

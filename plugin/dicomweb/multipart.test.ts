import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { MultipartError, readParts, writeParts } from './multipart.ts';

/** Bytes that hold line ends, dashes and starts of the boundary. */
const bodies = [Buffer.from('\r\n--b\r\n-'), Buffer.from(''), Buffer.alloc(300_000, '\r\n--bound')];

async function message(): Promise<Buffer> {
  return buffer(
    Readable.from(
      writeParts(
        bodies.map((body) => ({ contentType: 'application/dicom', body: [body] })),
        'boundary-1',
      ),
    ),
  );
}

async function read(source: Readable): Promise<Buffer[]> {
  const read = [];
  for await (const part of readParts(source, 'boundary-1')) {
    expect(part.headers['content-type']).toBe('application/dicom');
    read.push(await buffer(part.body));
  }
  return read;
}

test.each([1, 7, 1000, 1e6])('what was written is read, in pieces of %i bytes', async (size) => {
  const bytes = await message();
  const count = Math.ceil(bytes.length / size);
  const pieces = Array.from({ length: count }, (_, i) => bytes.subarray(i * size, (i + 1) * size));
  const parts = await read(Readable.from(pieces));
  expect(parts.map((part, i) => part.equals(bodies[i]))).toEqual([true, true, true]);
});

test.each([0, 10, 60, 100_000, -5])('a message cut at byte %i is an error', async (length) => {
  const cut = (await message()).subarray(0, length);
  await expect(read(Readable.from([cut]))).rejects.toThrow(MultipartError);
});

test('a sender that goes away ends the part that is being read', async () => {
  const bytes = await message();
  const source = new Readable({ read() {} });
  source.push(bytes.subarray(0, 200_000));
  setTimeout(() => source.destroy(), 20);
  await expect(read(source)).rejects.toThrow(/went away/);
});

test('a part without a header is an error', async () => {
  const bytes = Buffer.from('\r\n--boundary-1\r\nno header\r\n--boundary-1--\r\n');
  await expect(read(Readable.from([bytes]))).rejects.toThrow(/no header/);
});

test('a part that is given up does not stop the message', async () => {
  const sizes = [];
  for await (const part of readParts(Readable.from([await message()]), 'boundary-1')) {
    if (sizes.length === 1) part.body.destroy();
    sizes.push(part.body.destroyed ? -1 : (await buffer(part.body)).length);
  }
  expect(sizes).toEqual([bodies[0].length, -1, bodies[2].length]);
});

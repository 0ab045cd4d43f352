import { join } from 'node:path';
import { golden, GOLDEN_FOLDER, openGolden } from '../../fixtures/golden.ts';
import { readTorchFile } from './torch-file.ts';

const file = (name: string) => join(GOLDEN_FOLDER, 'weights', `${name}.pth`);

test.each([
  ['model', 'model', 131],
  ['raw_mae_p16_224', 'mae_p16', 66],
  ['legacy_pickle_sample', 'model', 4],
])('%s.pth holds the tensors of %s.safetensors', async (torch, safetensors, count) => {
  const state = await readTorchFile(file(torch));
  expect(state.size).toBe(count);
  const { tensors } = await openGolden(safetensors);
  for (const [name, tensor] of state) {
    expect({ name, shape: tensor.shape }).toEqual({ name, shape: tensors.get(name)?.shape });
    expect({ name, same: same(await tensor.read(), await golden(safetensors, name)) }).toEqual({
      name,
      same: true,
    });
  }
});

function same(a: Float32Array, b: Float32Array): boolean {
  return Buffer.from(a.buffer).equals(Buffer.from(b.buffer, b.byteOffset, b.byteLength));
}

import { readFile } from 'node:fs/promises';
import { golden, goldenConfig, GOLDEN_FOLDER, maxError, openGolden } from '../fixtures/golden.ts';
import { describeWith } from '../fixtures/required-program.ts';
import { swiftShaderFiles, useSwiftShader } from '../fixtures/swift-shader.ts';
import { chooseRuntime } from './provider-choice.ts';
import { probeProvider } from './provider-probe.ts';
import { scoringGraph } from './scoring-graph.ts';
import { Session } from './session.ts';

describeWith(swiftShaderFiles, 'WebGPU, on SwiftShader', () => {
  let undo: () => Promise<void>;
  beforeAll(async () => {
    undo = await useSwiftShader();
  });
  afterAll(() => undo());

  test('scores and maps as the released code', async () => {
    const mount = async (prefix: string, name: string) => ({
      prefix,
      location: `${name}.safetensors`,
      file: await openGolden(name),
    });
    const graph = scoringGraph(
      {
        model: goldenConfig,
        profile: {
          name: 'golden',
          preprocessing: { mean: 0.449, std: 0.226 },
          maxSlices: null,
          sampling: 'even',
          reductions: { image: 'max|mean', map: 'mean', study: 'max' },
        },
      },
      [await mount('perceptual.', 'mae_p16'), await mount('', 'model')],
    ).toBytes();
    const session = await Session.open({ graph, weightsFolder: GOLDEN_FOLDER, provider: 'webgpu' });
    const x = { data: await golden('forward', 'x'), dims: [2, 3, 112, 112] };
    const { score, map } = await session.run({ x });
    await session.close();
    expect(maxError(map.data, await golden('anomaly_map', 'pixel.max|mean'))).toBeLessThan(3e-6);
    expect(maxError(score.data, [0.6092194318771362, 0.5980431437492371])).toBeLessThan(3e-6);
    expect(await readFile('/proc/self/maps', 'utf8')).toContain('libvk_swiftshader.so');
  }, 600_000);

  test('a probe sees that the adapter is software, and that it has no float16', async () => {
    expect(await probeProvider('webgpu')).toEqual({ usable: true, float16: false, software: true });
    expect(await chooseRuntime({ provider: 'webgpu', precision: 'auto' })).toMatchObject({
      provider: 'webgpu',
      precision: 'float32',
    });
  });
});

test('a probe without a driver says so', async () => {
  const probe = await probeProvider('webgpu');
  expect(probe).toMatchObject({ usable: false, reason: expect.stringMatching(/^Vulkan|^libvulkan/) });
});

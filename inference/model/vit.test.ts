import { golden, GOLDEN_FOLDER, maxAbs, maxError, openGolden } from '../../fixtures/golden.ts';
import { Graph } from '../onnx/graph.ts';
import { Session } from '../session.ts';
import type { VitConfig } from './config.ts';
import { weightFiles, within } from './parameters.ts';
import type { ParameterSource } from './parameters.ts';
import { resamplePatches } from './perceptual.ts';
import { encoders } from './presets.ts';
import { vit } from './vit.ts';

/** The sizes of the golden encoders. */
const tiny = { dim: 16, depth: 2, heads: 2 };

/** Runs a ViT on the golden input `<tag>.x` and compares its hidden states with timm's. */
async function expectTimm(
  name: string,
  tag: string,
  config: VitConfig,
  { patchSize = config.patchSize, kernelOf = tag } = {},
): Promise<void> {
  const file = await openGolden(name);
  const graph = new Graph();
  const stored = weightFiles(graph, [{ prefix: '', file, location: `${name}.safetensors` }]);
  const parameters: ParameterSource = (parameter, ...shape) =>
    within(stored, `${parameter === 'patch_embed.proj.weight' ? kernelOf : tag}.sd.`)(parameter, ...shape);
  const dims = file.tensors.get(`${tag}.x`)!.shape;
  const x = graph.input('x', ['B', ...dims.slice(1)]);
  const image = resamplePatches(graph, x, patchSize, config.patchSize);
  vit(graph, parameters, config, image).blocks.forEach((block, i) => {
    graph.output(`h${i}`, block);
  });
  const session = await Session.open({ graph: graph.toBytes(), weightsFolder: GOLDEN_FOLDER });
  const results = await session.run({ x: { data: await golden(name, `${tag}.x`), dims } });
  await session.close();
  for (const hidden of ['h0', 'h1']) {
    const expected = await golden(name, `${tag}.${hidden}`);
    expect(maxError(results[hidden].data, expected) / maxAbs(expected)).toBeLessThan(1e-5);
  }
}

test.each([
  ['openclip_timm', 'p14_56', { ...encoders['openclip-vit-l14'], positionGrid: 4 }],
  ['dino_b8_timm', 'p8_56', { ...encoders['dino-vit-b8'], positionGrid: 7 }],
  [
    'dinov2_noreg_timm',
    'p14_56',
    { ...encoders['dinov2-vit-l14-reg'], registers: 0, noEmbedClass: false, positionGrid: 4 },
  ],
  ['dinov2_reg4_timm', 'p14_70', { ...encoders['dinov2-vit-l14-reg'], positionGrid: 5 }],
  ['mae_timm', 'p16_64', { ...encoders['mae-vit-l16'], positionGrid: 4 }],
])('%s agrees with timm', async (name, tag, config) => {
  await expectTimm(name, tag, { ...config, ...tiny });
});

test.each([
  ['p8_64', 8, 8],
  ['p28_56', 28, 2],
  ['p32_64', 32, 2],
  ['p56_112', 56, 2],
])(
  'resampled patches and the stored kernel give what the resized kernel of %s gives',
  async (tag, patchSize, grid) => {
    const config = { ...encoders['mae-vit-l16'], ...tiny, positionGrid: grid };
    await expectTimm('mae_timm', tag, config, { patchSize, kernelOf: 'p16_64' });
  },
);

import { readFile } from 'node:fs/promises';
import { describeWith } from '../fixtures/required-program.ts';
import { swiftShaderFiles, useSwiftShader } from '../fixtures/swift-shader.ts';
import { Graph } from './onnx/graph.ts';
import { Session } from './session.ts';

describeWith(swiftShaderFiles, 'WebGPU, on SwiftShader', () => {
  let undo: () => Promise<void>;
  beforeAll(async () => {
    undo = await useSwiftShader();
  });
  afterAll(() => undo());

  test('a session computes on the device', async () => {
    const graph = new Graph();
    const x = graph.input('x', ['B', 2]);
    graph.output('y', graph.matMul(x, graph.constant([2, 2], [1, 2, 3, 4])));
    const session = await Session.open({ graph: graph.toBytes(), provider: 'webgpu' });
    const { y } = await session.run({ x: { data: Float32Array.of(1, 10), dims: [1, 2] } });
    await session.close();
    expect([...y.data]).toEqual([31, 42]);
    expect(await readFile('/proc/self/maps', 'utf8')).toContain('libvk_swiftshader.so');
  });
});

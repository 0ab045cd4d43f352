import { Graph } from './onnx/graph.ts';
import { Session } from './session.ts';

/** A graph that multiplies a matrix with itself some times: long enough to be closed in the middle. */
function slowGraph(side: number): Uint8Array {
  const graph = new Graph();
  const x = graph.input('x', [side, side]);
  let y = x;
  for (let i = 0; i < 20; i++) y = graph.matMul(y, x);
  graph.output('y', graph.reduceMax(y, [0, 1]));
  return graph.toBytes();
}

test('closed while a run is under way, it rejects the run and waits for the thread', async () => {
  const side = 1024;
  const session = await Session.open({ graph: slowGraph(side) });
  const running = session.run({ x: { data: new Float32Array(side * side), dims: [side, side] } });
  const outcome = expect(running).rejects.toThrow('closed');
  await session.close();
  await outcome;
  expect(session.ended).toBe(true);
  await expect(session.run({ x: { data: new Float32Array(1), dims: [1, 1] } })).rejects.toThrow('closed');
});

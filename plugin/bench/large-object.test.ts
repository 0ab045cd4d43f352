import { benchLargeObject } from './large-object.ts';

test('frames of an object of 2 GB are read within 300 MB, however they are found', async () => {
  const results = await benchLargeObject(2, 8);
  expect(results.map(({ form }) => form)).toHaveLength(5);
  for (const { form, frames, riseBytes } of results)
    expect([form, frames, Math.min(riseBytes, 300e6)]).toEqual([form, 1907, riseBytes]);
}, 600_000);

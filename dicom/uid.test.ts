import { createHash } from 'node:crypto';
import { isUID, uidFrom } from './uid.ts';

test('a UID is digits and dots without leading zeros, 64 characters at most', () => {
  for (const good of ['1.2.840.10008.1.1', '2.25.0', '1.0.3', `1.${'2'.repeat(62)}`])
    expect(isUID(good)).toBe(true);
  for (const bad of ['', '1', '1.', '.1', '1..2', '1.02', '1.a', '1.2 ', ` 1.2`, `1.${'2'.repeat(63)}`]) {
    expect(isUID(bad)).toBe(false);
  }
});

test('uidFrom is the first 128 bits of the SHA-256 of the list as JSON', () => {
  const digest = createHash('sha256').update('["a","b"]').digest();
  const number = (digest.readBigUInt64BE(0) << 64n) | digest.readBigUInt64BE(8);
  expect(uidFrom(['a', 'b'])).toBe(`2.25.${number}`);
});

test('uidFrom tells lists apart that join to the same text', () => {
  const uids = [['ab'], ['a', 'b'], ['', 'ab'], ['a,b'], ['"a","b"']].map(uidFrom);
  expect(new Set(uids).size).toBe(uids.length);
  expect(uids.every(isUID)).toBe(true);
});

import type { Database } from '../database/database.ts';
import { InstanceStore } from './instance-store.ts';

test('files are named after UIDs, and after nothing else', () => {
  const store = new InstanceStore({} as Database, '/store');
  const uids = { studyInstanceUID: '1.2', seriesInstanceUID: '1.2.3', sopInstanceUID: '1.2.3.4' };
  expect(store.path(uids)).toBe('/store/1.2/1.2.3/1.2.3.4.dcm');
  for (const key of Object.keys(uids)) {
    for (const wrong of ['..', '../1', '1/2', '', '1\0']) {
      expect(() => store.path({ ...uids, [key]: wrong })).toThrow('not a UID');
    }
  }
});

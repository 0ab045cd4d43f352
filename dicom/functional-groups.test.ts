import type { DicomJson } from './dicom-json.ts';
import { frameAttributes } from './functional-groups.ts';
import { planeGeometry, positionAlongNormal } from './plane-geometry.ts';

const ds = (...Value: number[]) => ({ vr: 'DS', Value });
const sq = (...Value: DicomJson[]) => ({ vr: 'SQ', Value });

const enhanced: DicomJson = {
  '00280008': ds(2),
  '00200052': { vr: 'UI', Value: ['1.2.3'] },
  '52009229': sq({
    '00209116': sq({ '00200037': ds(0, 1, 0, 0, 0, -1) }),
    '00289110': sq({ '00280030': ds(0.5, 0.25) }),
    '00289145': sq({ '00281052': ds(0), '00281053': ds(1) }),
  }),
  '52009230': sq(
    { '00209113': sq({ '00200032': ds(7, 8, 9) }) },
    {
      '00209113': sq({ '00200032': ds(-7, 8, 9) }),
      '00289145': sq({ '00281052': ds(-1024), '00281053': ds(2) }),
      '00289132': sq({ '00281050': ds(40), '00281051': ds(400) }),
    },
  ),
};

test('a frame has the shared groups, and its own before them', () => {
  const [first, second] = [1, 2].map((frame) => frameAttributes(enhanced, frame));
  expect([first['00281052'], first['00281053'], first['00281050']]).toEqual([ds(0), ds(1), undefined]);
  expect([second['00281052'], second['00281053'], second['00281050']]).toEqual([ds(-1024), ds(2), ds(40)]);
});

test('geometry of the frames of an enhanced object', () => {
  expect(planeGeometry(enhanced, 2)).toEqual({
    frameOfReferenceUID: '1.2.3',
    imagePositionPatient: [-7, 8, 9],
    imageOrientationPatient: [0, 1, 0, 0, 0, -1],
    pixelSpacing: [0.5, 0.25],
  });
  // Row +y times column −z is −x.
  expect([1, 2].map((frame) => positionAlongNormal(planeGeometry(enhanced, frame)!))).toEqual([-7, 7]);
});

test('no geometry where it is incomplete, degenerate, or of another frame', () => {
  const classic: DicomJson = {
    '00200032': ds(0, 0, 0),
    '00200037': ds(1, 0, 0, 0, 1, 0),
    '00200052': { vr: 'UI', Value: ['1.2.3'] },
    '00280030': ds(1, 1),
  };
  expect(planeGeometry(classic, 1)).toBeDefined();
  for (const tag of Object.keys(classic))
    expect(planeGeometry({ ...classic, [tag]: ds() }, 1)).toBeUndefined();
  expect(planeGeometry({ ...classic, '00200037': ds(1, 0, 0, 1, 0, 0) }, 1)).toBeUndefined();
  expect(planeGeometry({ ...classic, '00200037': ds(2, 0, 0, 0, 1, 0) }, 1)).toBeUndefined();
  expect(planeGeometry({ ...classic, '00280030': ds(0, 1) }, 1)).toBeUndefined();
  expect(planeGeometry({ ...classic, '00280008': ds(3) }, 1)).toBeUndefined();
});

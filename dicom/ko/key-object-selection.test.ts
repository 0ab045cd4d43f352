import { describeWith } from '../../fixtures/required-program.ts';
import { itemsOf, stringOf } from '../writing/keyword.ts';
import { MemorySource } from '../reading/byte-source.ts';
import { readInstance } from '../reading/part10.ts';
import type { ResultObject } from '../result.ts';
import { judge, REJECTED, SOURCES } from '../writing/scored-study.fixture.ts';
import { allNodes, contentTree } from '../validate/content-tree.ts';
import { keyObjectSelection, rejectedBy, REJECTIONS, rejectionNote } from './key-object-selection.ts';

const study = SOURCES['CT volume']();
const rejecting = (reason?: keyof typeof REJECTIONS) =>
  rejectionNote(study, study.slices[0].header, REJECTED, reason);

/** Title, and of each selected object its value type and instance. */
function selection({ bytes }: ResultObject) {
  const root = contentTree(readInstance(new MemorySource(bytes)).header.dataset);
  const selected = allNodes(root).filter(({ valueType }) => ['IMAGE', 'COMPOSITE'].includes(valueType));
  return {
    title: root.concept,
    selected: selected.map(({ item, valueType }) => [
      valueType,
      stringOf(itemsOf(item, 'ReferencedSOPSequence')[0], 'ReferencedSOPInstanceUID'),
    ]),
  };
}

test('the flagged slices are selected, or the one of the highest score', () => {
  const { title, selected } = selection(keyObjectSelection(study));
  expect(title).toEqual({ value: '113000', scheme: 'DCM', meaning: 'Of Interest' });
  expect(selected).toEqual([['IMAGE', study.slices[1].slice.sopInstanceUID]]);
  const quiet = { ...study, slices: [study.slices[0], study.slices[2]] };
  expect(selection(keyObjectSelection(quiet)).selected).toEqual([
    ['IMAGE', study.slices[0].slice.sopInstanceUID],
  ]);
});

test('a rejection note lists what is rejected, as image or not, under the title of its reason', () => {
  expect(selection(rejecting())).toEqual({
    title: { value: '113001', scheme: 'DCM', meaning: 'Rejected for Quality Reasons' },
    selected: [
      ['COMPOSITE', REJECTED[0].sopInstanceUID],
      ['IMAGE', REJECTED[1].sopInstanceUID],
    ],
  });
  expect(selection(rejecting('patient-safety')).title?.value).toBe('113037');
  const read = ({ bytes }: ResultObject) => rejectedBy(readInstance(new MemorySource(bytes)).header.dataset);
  expect(read(rejecting())).toEqual(REJECTED.map(({ sopInstanceUID }) => sopInstanceUID));
  expect(read(keyObjectSelection(study))).toBeUndefined();
});

test('notes on other instances, or for another reason, have other UIDs; nothing cannot be rejected', () => {
  const other = rejectionNote(study, study.slices[0].header, REJECTED.slice(1));
  const uids = [rejecting(), rejecting('patient-safety'), other].map(({ sopInstanceUID }) => sopInstanceUID);
  expect(new Set(uids).size).toBe(3);
  expect(rejecting().bytes).toEqual(rejecting().bytes);
  expect(() => rejectionNote(study, study.slices[0].header, [])).toThrow('needs an instance');
});

describeWith(['dsrdump'], 'key object documents, as DCMTK reads them', () => {
  test.each([
    ['of interest', keyObjectSelection(study)],
    ['rejected', rejecting()],
  ])('%s', (_name, { bytes }) => {
    const { status, output } = judge(bytes, 'dsrdump');
    expect(status).toBe(0);
    // dsrdump says of every UTF-8 file that it did not check its VRs, of every key object document the same of its template.
    expect(output).not.toMatch(
      /^(E:|W: (?!The VR checker does not support|Check for template constraints))/m,
    );
    expect(output).toContain('Key Object Selection Document');
  });
});

import { type Attributes, dataSet } from './keyword.ts';
import type { DicomJson } from '../dicom-json.ts';

/**
 * Always the frame's own: Frame Content by C.7.6.16.2.2; where a frame lies and what it is made of because OHIF looks
 * nowhere else, even where there is one frame only.
 */
const ownGroups = new Set(['FrameContentSequence', 'PlanePositionSequence', 'DerivationImageSequence']);

/**
 * The functional groups of a multi-frame object (PS3.3 C.7.6.16): a group that is the same in all frames goes to
 * the shared ones, the others to each frame.
 *
 * @param frames of each frame its functional groups, by keyword; all frames have the same ones
 */
export function functionalGroups(frames: readonly Attributes[]): DicomJson {
  const isShared = (keyword: string) =>
    !ownGroups.has(keyword) &&
    frames.every((frame) => JSON.stringify(frame[keyword]) === JSON.stringify(frames[0][keyword]));
  const shared = new Set(Object.keys(frames[0]).filter(isShared));
  const part = (frame: Attributes, ofShared: boolean): Attributes =>
    Object.fromEntries(Object.entries(frame).filter(([keyword]) => shared.has(keyword) === ofShared));
  return dataSet({
    SharedFunctionalGroupsSequence: [part(frames[0], true)],
    PerFrameFunctionalGroupsSequence: frames.map((frame) => part(frame, false)),
  });
}

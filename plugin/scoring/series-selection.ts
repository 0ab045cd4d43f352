import type { DicomPool, InstanceHeader, SliceOptions } from '../../dicom/pool.ts';
import { planeGeometry } from '../../dicom/plane-geometry.ts';
import { numberOf } from '../../dicom/reading/attribute.ts';
import { SMALLEST_PICTURE } from '../../dicom/sc/heatmap-overlay.ts';
import { sortSeries, type SeriesSlice, type SliceStack } from '../../dicom/series.ts';
import type { Profile } from '../../inference/bundle/profiles.ts';
import { sampleSlices } from '../../inference/slice-sampling.ts';
import { isOwnResult } from './algorithm.ts';
import { brainMask } from './brain-mask.ts';
import { greyValues } from './grey-values.ts';
import type { Isolation, IsolationSource } from './isolation.ts';
import { liverMask } from './liver-mask.ts';
import { profileFit, type ProfileFit } from './profile-fit.ts';

/** An instance in a file. */
export interface SourceInstance {
  path: string;
  header: InstanceHeader;
}

/** A series that may be scored; its instances are read when its turn comes. */
export interface CandidateSeries {
  seriesInstanceUID: string;
  /** Of its instances. */
  sopClassUIDs: readonly string[];
  read(): Promise<SourceInstance[]>;
}

/** What of a study is not scored, and why. */
export interface NotScored {
  seriesInstanceUID: string;
  /** How many slices of the series; all of it if left out. */
  slices?: number;
  reason: string;
}

/** The series to be scored, its slices in spatial order, and how they are read. */
export interface SelectedSeries {
  seriesInstanceUID: string;
  instances: SourceInstance[];
  slices: SeriesSlice[];
  /** SOP Instance UIDs of all that the scores depend on: the stack, scored or not, and a Segmentation. */
  sourceUIDs: string[];
  /** How its values become grey. */
  grey: SliceOptions;
  /** What the profile looks at in a slice; all of it if left out. */
  maskOf?: (slice: SeriesSlice) => Promise<Uint8Array>;
  /** What a reader of the scores should know. */
  remarks: string[];
  notScored: NotScored[];
}

/** As a reason is told to people. */
export function describe({ seriesInstanceUID, slices, reason }: NotScored): string {
  return `series ${seriesInstanceUID}: ${slices === undefined ? '' : `${slices} slices: `}${reason}`;
}

/** SOP class of segments. */
export const SEGMENTATION = '1.2.840.10008.5.1.4.1.1.66.4';

/**
 * The series that a study is scored by: of those with the most instances first (of several, that of the smallest
 * UID), the first of which a stack is what the profile scores; of its stacks the largest. What is too small for a
 * legible picture is passed over. A projection that does not say its view is taken only where no other does. The
 * stack is thinned out as the profile says.
 *
 * @returns the reason where none fits.
 */
export async function selectSeries(
  pool: DicomPool,
  profile: Profile,
  candidates: readonly CandidateSeries[],
  signal?: AbortSignal,
): Promise<SelectedSeries | { reason: string }> {
  const [segmentations, series] = partition(candidates, ({ sopClassUIDs }) =>
    sopClassUIDs.includes(SEGMENTATION),
  );
  return new Selection(pool, profile, segmentations, signal).from(inOrder(series));
}

function partition<T>(values: readonly T[], test: (value: T) => boolean): [T[], T[]] {
  return [values.filter(test), values.filter((value) => !test(value))];
}

function inOrder(candidates: readonly CandidateSeries[]): CandidateSeries[] {
  return [...candidates].sort(
    (a, b) =>
      b.sopClassUIDs.length - a.sopClassUIDs.length || (a.seriesInstanceUID < b.seriesInstanceUID ? -1 : 1),
  );
}

/** A stack of a series that is being looked at. */
interface Candidate {
  seriesInstanceUID: string;
  instances: SourceInstance[];
  stack: SliceStack;
}

class Selection {
  readonly #pool: DicomPool;
  readonly #profile: Profile;
  readonly #segmentations: readonly CandidateSeries[];
  readonly #signal: AbortSignal | undefined;
  readonly #notScored: NotScored[] = [];

  constructor(
    pool: DicomPool,
    profile: Profile,
    segmentations: readonly CandidateSeries[],
    signal: AbortSignal | undefined,
  ) {
    this.#pool = pool;
    this.#profile = profile;
    this.#segmentations = segmentations;
    this.#signal = signal;
  }

  async from(candidates: readonly CandidateSeries[]): Promise<SelectedSeries | { reason: string }> {
    const unsure: Candidate[] = [];
    for (const [i, series] of candidates.entries()) {
      const stacks = await this.#stacksOf(series);
      for (const [k, candidate] of stacks.entries()) {
        const fit = this.#fit(candidate);
        if (fit.fits === 'no') this.#pass(candidate, fit.reason);
        else if (fit.fits === 'may') unsure.push(candidate);
        else {
          const selected = await this.#prepare(candidate);
          if (!selected) continue;
          return this.#complete(selected, [...unsure, ...stacks.slice(k + 1)], candidates.slice(i + 1));
        }
      }
    }
    for (const [k, candidate] of unsure.entries()) {
      const selected = await this.#prepare(candidate);
      if (selected) return this.#complete(selected, unsure.slice(k + 1), []);
    }
    return { reason: this.#notScored.map(describe).join('; ') || 'the study holds no images' };
  }

  /** The stacks of a series; what belongs to none is noted. */
  async #stacksOf(series: CandidateSeries): Promise<Candidate[]> {
    this.#signal?.throwIfAborted();
    const { seriesInstanceUID } = series;
    const instances = (await series.read()).filter(({ header }) => !isOwnResult(header.dataset));
    const { stacks, leftOut } = sortSeries(instances.map(({ header }) => header));
    for (const [reason, parts] of Map.groupBy(leftOut, ({ reason }) => reason)) {
      const slices = parts.reduce(
        (sum, { index, frame }) => sum + (frame === undefined ? instances[index].header.numberOfFrames : 1),
        0,
      );
      this.#notScored.push({ seriesInstanceUID, ...(stacks.length > 0 && { slices }), reason });
    }
    return stacks.map((stack) => ({ seriesInstanceUID, instances, stack }));
  }

  #fit({ instances, stack }: Candidate): ProfileFit {
    const rows = numberOf(stack.attributes, '00280010') ?? Infinity;
    const columns = numberOf(stack.attributes, '00280011') ?? Infinity;
    // A score that no picture can show is of no use to a reader: such are thumbnails.
    if (rows < SMALLEST_PICTURE.rows || columns < SMALLEST_PICTURE.columns) {
      const { columns: least, rows: leastRows } = SMALLEST_PICTURE;
      const reason = `${columns} × ${rows} pixels; no fewer than ${least} × ${leastRows} are scored`;
      return { fits: 'no', reason };
    }
    const [{ index, frame }] = stack.slices;
    const geometry = planeGeometry(instances[index].header.dataset, frame);
    return this.#profile.series
      ? profileFit(this.#profile.series, stack.attributes, geometry)
      : { fits: 'yes' };
  }

  #pass({ seriesInstanceUID, stack }: Candidate, reason: string): void {
    const named = stack.distinctions.length > 0 ? `${stack.distinctions.join(', ')}: ${reason}` : reason;
    this.#notScored.push({ seriesInstanceUID, slices: stack.slices.length, reason: named });
  }

  /** What has to be known of a stack before its slices are scored; undefined, and noted, where it cannot be. */
  async #prepare(candidate: Candidate): Promise<SelectedSeries | undefined> {
    const { seriesInstanceUID, instances, stack } = candidate;
    const { preprocessing } = this.#profile;
    const remarks = [...stack.distinctions, ...stack.remarks];
    let isolation = await this.#isolate({ instances, slices: stack.slices });
    if ('reason' in isolation) {
      if (preprocessing.notIsolated !== 'accept') {
        this.#pass(candidate, isolation.reason);
        return undefined;
      }
      remarks.push(`scored as it is: ${isolation.reason}`);
      isolation = { slices: stack.slices };
    }
    const { slices: holding, maskOf } = isolation;
    if (holding.length === 0) {
      this.#pass(candidate, `without ${preprocessing.isolated ?? ''}`);
      return undefined;
    }
    const grey = await greyValues(
      this.#pool,
      preprocessing.intensity,
      { instances },
      isolation,
      this.#signal,
    );
    if ('reason' in grey) {
      this.#pass(candidate, grey.reason);
      return undefined;
    }
    const slices = sampleSlices(holding.length, this.#profile).map((i) => holding[i]);
    this.#note(candidate, stack.slices.length - holding.length, `without ${preprocessing.isolated ?? ''}`);
    this.#note(candidate, holding.length - slices.length, `more than the ${slices.length} that are scored`);
    return {
      seriesInstanceUID,
      instances,
      slices,
      sourceUIDs: [
        ...stack.slices.map(({ index }) => instances[index].header.sopInstanceUID),
        ...(isolation.sourceUIDs ?? []),
      ],
      grey,
      ...(maskOf && { maskOf }),
      remarks,
      notScored: this.#notScored,
    };
  }

  async #isolate(source: IsolationSource): Promise<Isolation | { reason: string }> {
    switch (this.#profile.preprocessing.isolated) {
      case undefined:
        return { slices: [...source.slices] };
      case 'brain':
        return brainMask(this.#pool, source, this.#signal);
      case 'liver':
        return liverMask(this.#pool, source, () => this.#readSegmentations(), this.#signal);
    }
  }

  async #readSegmentations(): Promise<SourceInstance[]> {
    const read = await Promise.all(this.#segmentations.map((series) => series.read()));
    return read.flat().filter(({ header }) => !isOwnResult(header.dataset));
  }

  #note({ seriesInstanceUID }: Candidate, slices: number, reason: string): void {
    if (slices > 0) this.#notScored.push({ seriesInstanceUID, slices, reason });
  }

  /** Notes what was not looked at, or might have been scored as well. */
  #complete(selected: SelectedSeries, others: readonly Candidate[], rest: readonly CandidateSeries[]) {
    const reason = 'one stack of a study is scored, and this is not the first that fits';
    for (const candidate of others) this.#pass(candidate, reason);
    for (const { seriesInstanceUID } of rest) this.#notScored.push({ seriesInstanceUID, reason });
    return selected;
  }
}

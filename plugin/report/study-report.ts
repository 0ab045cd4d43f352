import type { ScoreValues } from '../../dicom/result.ts';
import type { Bundle } from '../../inference/bundle/schema.ts';
import type { Scoring, SliceRecord } from '../jobs/scorings.ts';
import type { Feedback } from '../feedback/feedback.ts';

/** What a report on a study is made of. */
export interface ReportedStudy {
  scoring: Scoring;
  /** In slice order. */
  slices: SliceRecord[];
  /** Of some slices, by their place in `slices`: PNG files with the heatmap. */
  heatmaps: Map<number, Uint8Array>;
  /** What scored; undefined where it is gone. */
  bundle: Bundle | undefined;
  feedback: Pick<Feedback, 'label' | 'reader' | 'comment'> | null;
}

/**
 * A page on one study that needs nothing else: to be shown, sent or printed. It names no patient, as the worklist does
 * not.
 */
export function studyReport({ scoring, slices, heatmaps, bundle, feedback }: ReportedStudy): string {
  const { subject, score, studyInstanceUID, archive, state, reason, selection, finishedAt } = scoring;
  const what = [subject?.modality, subject?.studyDescription, subject?.seriesDescription, subject?.studyDate];
  const flagged = slices.filter((slice) => slice.score.flagged).length;
  const normals = bundle?.calibration?.scores;
  const rows: [string, string | number | null | undefined][] = [
    ['Study', studyInstanceUID],
    ['Archive', archive],
    ['Result', [state, reason].filter(Boolean).join(': ')],
    ...(score ? scoreRows(score) : []),
    [
      'Among normal studies',
      score &&
        normals &&
        `${normals.filter((value) => value >= score.rawScore).length} of ${normals.length} score as high`,
    ],
    ['Slices', slices.length === 0 ? null : `${slices.length}, of which ${flagged} flagged`],
    ['Remarks', selection?.remarks.join('; ')],
    ['Bundle', bundle ? `${bundle.title} (${bundle.id})` : scoring.bundle],
    ['Scored', finishedAt?.toISOString()],
    [
      'Reader',
      feedback && feedback.label !== 'withdrawn' ? `${feedback.label}, ${feedback.reader}` : 'not read yet',
    ],
    ['Comment', feedback?.comment],
  ];
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>QFAE report</title>
<style>
body { font: 10pt/1.4 system-ui, sans-serif; color: #000; background: #fff; max-width: 18cm; margin: 1cm auto; padding: 0 .5cm }
h1 { font-size: 14pt; margin: 0 } .notice { font-weight: 700; margin: .2cm 0 }
table { border-collapse: collapse; width: 100% } th, td { text-align: left; vertical-align: top; padding: .05cm .3cm .05cm 0 }
th { font-weight: 400; color: #444; width: 4cm } td { overflow-wrap: anywhere }
.heatmaps { display: grid; grid-template-columns: repeat(3, 1fr); gap: .2cm; margin-top: .4cm }
figure { margin: 0 } img { width: 100% } figcaption { font-size: 8pt; color: #444 }
@page { size: A4; margin: 1cm }
</style>
</head>
<body>
<h1>${escape(what.filter(Boolean).join(' · ') || 'Study')}</h1>
<p class="notice">Anomaly score by QFAE. Not for diagnostic use.</p>
<table>
${rows
  .filter(([, value]) => value !== null && value !== undefined && value !== '')
  .map(([name, value]) => `<tr><th scope="row">${escape(name)}</th><td>${escape(String(value))}</td></tr>`)
  .join('\n')}
</table>
<div class="heatmaps">
${[...heatmaps].map(([index, png]) => heatmap(slices[index], index, png)).join('\n')}
</div>
</body>
</html>
`;
}

function scoreRows(score: ScoreValues): [string, string][] {
  return [
    [
      'Percentile',
      `${(Math.floor(score.percentile * 10) / 10).toFixed(1)}, ${score.flagged ? 'flagged' : 'not flagged'}`,
    ],
    ['Raw score', `${score.rawScore.toPrecision(6)}, threshold ${score.threshold.toPrecision(6)}`],
    ['p-value', score.pValue.toPrecision(3)],
  ];
}

function heatmap({ score, position }: SliceRecord, index: number, png: Uint8Array): string {
  const place = position === null ? '' : `, ${position.toFixed(1)} mm`;
  const text = `Slice ${index + 1}${place}: percentile ${(Math.floor(score.percentile * 10) / 10).toFixed(1)}`;
  const data = Buffer.from(png).toString('base64');
  return `<figure><img alt="${escape(text)}, with heatmap" src="data:image/png;base64,${data}"><figcaption>${escape(text)}</figcaption></figure>`;
}

const entities: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** Text for HTML: descriptions come from whoever sent the study. */
function escape(text: string): string {
  return text.replace(/[&<>"']/g, (character) => entities[character]);
}

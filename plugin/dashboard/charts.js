import { html, nothing, svg } from '/lit-html/lit-html.js';

const width = 640;
const height = 180;
const margin = { left: 8, right: 8, top: 18, bottom: 22 };
/** Studies of which a timeline's line is the median. */
const medianOf = 15;
const inner = { width: width - margin.left - margin.right, height: height - margin.top - margin.bottom };

const scale = (low, high, from, to) => (value) =>
  high > low ? from + ((value - low) / (high - low)) * (to - from) : (from + to) / 2;

/** Three significant digits. */
export const significant = (value) => String(Number(value.toPrecision(3)));

/** Cut, not rounded: 99.97 is not the 100th percentile. */
export const percentileText = (percentile) => (Math.floor(percentile * 10) / 10).toFixed(1);

function frame(label, content) {
  return html`<svg class="chart" viewBox="0 0 ${width} ${height}" role="img" aria-label=${label}>
    ${content}
  </svg>`;
}

/** A vertical line with a word beside it, `row` lines down. */
function mark(x, text, name, row = 0) {
  const end = x > width / 2;
  return svg`<line class=${name} x1=${x} x2=${x} y1=${margin.top - 4} y2=${height - margin.bottom}></line>
    <text class=${name} x=${end ? x - 4 : x + 4} y=${margin.top - 6 + 16 * row} text-anchor=${end ? 'end' : 'start'}>${text}</text>`;
}

/**
 * How the scores of normal studies are spread, with a threshold and, if given, the score of a study.
 *
 * @param scores ascending
 */
export function histogram(scores, threshold, score) {
  const values = [scores[0], scores.at(-1), threshold, score].filter((value) => value !== undefined);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const bins = Math.max(5, Math.min(40, Math.ceil(Math.sqrt(scores.length) * 2)));
  const counts = Array(bins).fill(0);
  const binOf = scale(low, high, 0, bins);
  for (const value of scores) counts[Math.min(bins - 1, Math.floor(binOf(value)))]++;
  const x = scale(low, high, margin.left, width - margin.right);
  const y = scale(0, Math.max(...counts), 0, inner.height);
  const step = inner.width / bins;
  const above = score === undefined ? undefined : scores.filter((value) => value >= score).length;
  const label =
    `Raw scores of ${scores.length} normal studies, from ${significant(scores[0])} to ${significant(scores.at(-1))}; ` +
    `threshold ${significant(threshold)}` +
    (score === undefined ? '' : `; this study ${significant(score)}, reached by ${above} of the normal ones`);
  return html`<figure>
    ${frame(
      label,
      svg`${counts.map(
        (count, i) =>
          svg`<rect class="bar" x=${margin.left + i * step + 0.5} width=${step - 1}
            y=${height - margin.bottom - y(count)} height=${y(count)}></rect>`,
      )}
      ${mark(x(threshold), 'threshold', 'threshold')}
      ${score === undefined ? nothing : mark(x(score), 'this study', 'here', 1)}
      <text x=${margin.left} y=${height - 6}>${significant(low)}</text>
      <text x=${width - margin.right} y=${height - 6} text-anchor="end">${significant(high)}</text>`,
    )}
    <figcaption>${label}.</figcaption>
  </figure>`;
}

/**
 * Percentiles of two bundles against each other: on the diagonal both say the same. Points that only one of them flags
 * are triangles.
 *
 * @param points `{ x, y, above }`
 */
export function scatter(points, { label, xName, yName }) {
  const side = height - margin.top - margin.bottom;
  const x = scale(0, 100, margin.left, margin.left + side);
  const y = scale(0, 100, height - margin.bottom, margin.top);
  return html`<figure>
    ${frame(
      label,
      svg`<line class="threshold" x1=${x(0)} y1=${y(0)} x2=${x(100)} y2=${y(100)}></line>
      <path class="line" d="M ${x(0)} ${y(100)} V ${y(0)} H ${x(100)}"></path>
      ${points.map((point) => symbol(x(point.x), y(point.y), point.above))}
      <text x=${x(100) + 10} y=${y(0)}>→ percentile by ${xName}</text>
      <text x=${x(100) + 10} y=${y(100) + 10}>↑ percentile by ${yName}</text>`,
    )}
    <figcaption>${label}.</figcaption>
  </figure>`;
}

const symbol = (x, y, above) =>
  above
    ? svg`<path class="above" d="M ${x} ${y - 5} l 5 9 h -10 z"></path>`
    : svg`<circle class="point" cx=${x} cy=${y} r="2.5"></circle>`;

/**
 * Values over time, and a line that follows them: the median of each with those before it. Points that are `above` are
 * triangles.
 *
 * @param points `{ at, value, above }`, the earliest first; `at` in milliseconds
 * @param options.level of a line across, and its name
 */
export function timeline(points, { label, low, high, level, levelName }) {
  const [first, last] = [points[0].at, points.at(-1).at];
  const x = scale(first, last, margin.left + 6, width - margin.right - 6);
  const y = scale(low, high, height - margin.bottom, margin.top);
  const day = (at) => new Date(at).toLocaleDateString();
  const medians = points.slice(medianOf - 1).map(({ at }, i) => {
    const values = points.slice(i, i + medianOf).map(({ value }) => value);
    return `${x(at)},${y(values.sort((a, b) => a - b)[values.length >> 1])}`;
  });
  return html`<figure>
    ${frame(
      label,
      svg`<line class="threshold" x1=${margin.left} x2=${width - margin.right} y1=${y(level)} y2=${y(level)}></line>
      <text class="threshold" x=${width - margin.right} y=${y(level) - 4} text-anchor="end">${levelName}</text>
      <polyline class="line" points=${medians.join(' ')}></polyline>
      ${points.map(({ at, value, above }) => symbol(x(at), y(value), above))}
      <text x=${margin.left} y=${height - 6}>${day(first)}</text>
      ${day(last) === day(first) ? nothing : svg`<text x=${width - margin.right} y=${height - 6} text-anchor="end">${day(last)}</text>`}`,
    )}
    <figcaption>${label}; the line is the median of ${medianOf} studies.</figcaption>
  </figure>`;
}

/**
 * Values in order with a threshold; points above it are triangles.
 *
 * @param points `{ value, above }`
 * @param options.chosen index of the point that is marked
 * @param options.choose told which point was clicked
 */
export function line(points, { label, threshold, chosen, choose }) {
  const values = [...points.map(({ value }) => value), ...(threshold === undefined ? [] : [threshold])];
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const x = scale(0, points.length - 1, margin.left + 6, width - margin.right - 6);
  const y = scale(low, high, height - margin.bottom, margin.top);
  const pick = (event) => {
    const box = event.currentTarget.getBoundingClientRect();
    const at = ((event.clientX - box.left) / box.width) * width;
    const step = points.length > 1 ? x(1) - x(0) : 1;
    choose(Math.max(0, Math.min(points.length - 1, Math.round((at - x(0)) / step))));
  };
  return html`<figure @click=${choose ? pick : nothing} class=${choose ? 'pick' : ''}>
    ${frame(
      label,
      svg`${
        threshold === undefined
          ? nothing
          : svg`<line class="threshold" x1=${margin.left} x2=${width - margin.right} y1=${y(threshold)} y2=${y(threshold)}></line>
            <text class="threshold" x=${width - margin.right} y=${y(threshold) - 4} text-anchor="end">threshold</text>`
      }
      <polyline class="line" points=${points.map(({ value }, i) => `${x(i)},${y(value)}`).join(' ')}></polyline>
      ${points.map(({ value, above }, i) => symbol(x(i), y(value), above))}
      ${chosen === undefined ? nothing : svg`<line class="here" x1=${x(chosen)} x2=${x(chosen)} y1=${margin.top - 10} y2=${height - margin.bottom}></line>`}
      <text x=${margin.left} y=${height - 6}>1</text>
      <text x=${width - margin.right} y=${height - 6} text-anchor="end">${points.length}</text>`,
    )}
    <figcaption>${label}.</figcaption>
  </figure>`;
}

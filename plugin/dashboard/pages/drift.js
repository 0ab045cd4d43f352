import { html, nothing } from '/lit-html/lit-html.js';
import { read } from '../api.js';
import { percentileText, significant, timeline } from '../charts.js';

/** Studies whose percentiles are drawn, the newest ones. */
const shownStudies = 200;

/** Whether the scores of late still fit their calibration. */
export class DriftPage {
  title = 'Drift';
  #drift;
  /** By bundle, the oldest first. */
  #studies = new Map();

  async load() {
    const [drift, { studies }] = await Promise.all([
      read('/drift'),
      read(`/studies?status=scored&sort=newest&limit=${shownStudies}`),
    ]);
    this.#drift = drift;
    this.#studies = Map.groupBy(
      studies
        .filter(({ score }) => score)
        .sort((a, b) => Date.parse(a.finishedAt) - Date.parse(b.finishedAt)),
      ({ bundle }) => bundle,
    );
  }

  view() {
    return html`
      <h1 tabindex="-1">Drift</h1>
      <p>
        Other scanners, protocols or patients shift scores. Here are those of the last
        ${this.#drift?.days ?? ''} days next to those of the normal studies that calibrated each bundle.
      </p>
      ${this.#drift?.bundles.length === 0 ? html`<p>No trained bundle has scored in that time.</p>` : nothing}
      ${this.#drift?.bundles.map((drift) => driftView(drift))}
      ${[...this.#studies].map(
        ([bundle, studies]) =>
          html`<section aria-label="Percentiles by ${bundle}">
            <h2>Percentiles over time</h2>
            <p class="uid">${bundle}</p>
            ${timeline(
              studies.map(({ score, finishedAt }) => ({
                at: Date.parse(finishedAt),
                value: score.percentile,
                above: score.flagged,
              })),
              {
                label: `Percentiles of the last ${studies.length} studies, by the time at which they were scored; triangles are flagged`,
                low: 0,
                high: 100,
                level: 50,
                levelName: 'median of normal studies',
              },
            )}
          </section>`,
      )}
    `;
  }
}

function driftView({
  profile,
  bundle,
  studies,
  calibrationStudies,
  flagged,
  alpha,
  medianPercentile,
  test,
  alert,
}) {
  return html`<section aria-label="Profile ${profile}">
    <h2>Profile ${profile} ${alert ? html`<span class="flagged">▲ has drifted</span>` : nothing}</h2>
    <dl class="facts">
      <div>
        <dt>Bundle</dt>
        <dd><a href="#/bundle/${bundle}">${bundle}</a></dd>
      </div>
      <div>
        <dt>Studies</dt>
        <dd>${studies}, next to ${calibrationStudies} of the calibration</dd>
      </div>
      <div>
        <dt>Flagged</dt>
        <dd>${(100 * flagged).toFixed(1)} % (of normal studies ${(100 * alpha).toFixed(1)} %)</dd>
      </div>
      <div>
        <dt>Median percentile</dt>
        <dd>${percentileText(medianPercentile)} (50 where nothing has changed)</dd>
      </div>
      <div>
        <dt>Kolmogorov–Smirnov</dt>
        <dd>
          ${test ? `distance ${significant(test.statistic)}, p = ${significant(test.pValue)}` : 'too few studies'}
        </dd>
      </div>
    </dl>
  </section>`;
}

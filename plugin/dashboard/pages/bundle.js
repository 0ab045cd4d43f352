import { html, nothing } from '/lit-html/lit-html.js';
import { read } from '../api.js';
import { histogram, line, significant } from '../charts.js';

/** The card of one bundle. */
export class BundlePage {
  title = 'Bundle';
  #id;
  #bundle;

  constructor(_dashboard, [id]) {
    this.#id = id;
  }

  async load() {
    this.#bundle = await read(`/bundles/${encodeURIComponent(this.#id)}`);
  }

  view() {
    return html`<h1 tabindex="-1">${this.#bundle?.title ?? 'Bundle'}</h1>
      ${this.#bundle ? card(this.#bundle) : html`<p role="status">Loading…</p>`}`;
  }
}

/** What decides the scores of a bundle, where it comes from, and how good it is. */
export function card(bundle) {
  const {
    id,
    title,
    note,
    profile,
    promoted,
    origin,
    provenance,
    metrics,
    calibration,
    heads,
    weightBytes,
    task,
  } = bundle;
  const facts = {
    Bundle: id,
    Title: title,
    Profile: promoted ? `${profile}, promoted` : profile,
    Origin: origin,
    'Made by': provenance.software,
    'Trained on': `${provenance.trainingStudies} studies`,
    'Calibrated on': `${provenance.calibrationStudies} normal studies`,
    ...(provenance.predecessor && { Continues: provenance.predecessor }),
    ...(provenance.seed !== undefined && { Seed: provenance.seed }),
    Heads: heads.join(', '),
    Weights: `${(weightBytes / 1e6).toFixed(1)} MB`,
    ...(calibration && {
      'False-positive rate': calibration.alpha,
      'Threshold of maps': significant(calibration.mapThreshold),
    }),
    ...Object.fromEntries(Object.entries(metrics).map(([name, value]) => [name, significant(value)])),
  };
  return html`
    ${note ? html`<p>${note}</p>` : nothing}
    <dl class="facts">
      ${Object.entries(facts).map(
        ([name, value]) =>
          html`<div>
            <dt>${name}</dt>
            <dd>${value}</dd>
          </div>`,
      )}
    </dl>
    ${
      calibration
        ? histogram(calibration.scores, calibration.threshold)
        : html`<p class="problem">Not calibrated yet: it cannot be promoted.</p>`
    }
    <details>
      <summary>What it scores, and how</summary>
      <pre>${JSON.stringify(task, null, 2)}</pre>
    </details>
    ${bundle.retraining ? retrainingView(bundle.retraining) : nothing}
  `;
}

/** How a retraining went: its losses, and the conditions that the candidate had to meet. */
function retrainingView({ curves, gate, outcome, reason, comparedWith, evaluatedBy }) {
  const losses = { 'Loss in training': curves.training, 'Loss of held-out slices': curves.heldOut };
  return html`<section aria-label="Retraining">
    <h2>Retraining</h2>
    <p>
      ${outcome}${reason ? `: ${reason}` : ''}; compared with ${comparedWith ?? 'nothing'}, evaluated by
      ${evaluatedBy}.
    </p>
    ${Object.entries(losses).map(([name, points]) =>
      points.length > 1
        ? line(
            points.map(([, value]) => ({ value, above: false })),
            {
              label: `${name}, from ${significant(points[0][1])} to ${significant(points.at(-1)[1])} at step ${points.at(-1)[0]}`,
            },
          )
        : nothing,
    )}
    <ul>
      ${gate.map(({ name, passed, finding }) => html`<li>${passed ? '✓' : '✗ not met:'} ${name}: ${finding}</li>`)}
    </ul>
  </section>`;
}

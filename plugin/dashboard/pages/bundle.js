import { html, nothing } from '/lit-html/lit-html.js';
import { read } from '../api.js';
import { histogram, significant } from '../charts.js';

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
  const { id, title, profile, promoted, origin, provenance, metrics, calibration, heads, weightBytes, task } =
    bundle;
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
    ${nothing}
  `;
}

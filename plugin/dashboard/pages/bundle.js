import { html, nothing } from '/lit-html/lit-html.js';
import { read, studyPath } from '../api.js';
import { histogram, line, percentileText, scatter, significant } from '../charts.js';

/** Studies of a shadow that are listed. */
const listedShadows = 20;

/** The card of one bundle. */
export class BundlePage {
  title = 'Bundle';
  #id;
  #bundle;
  /** Studies that it scored in shadow. */
  #shadow = [];

  constructor(_dashboard, [id]) {
    this.#id = id;
  }

  async load() {
    const path = `/bundles/${encodeURIComponent(this.#id)}`;
    this.#bundle = await read(path);
    this.#shadow = (await read(`${path}/shadow`)).studies;
  }

  view() {
    return html`<h1 tabindex="-1">${this.#bundle?.title ?? 'Bundle'}</h1>
      ${
        this.#bundle
          ? html`${card(this.#bundle)}
            ${this.#bundle.shadow.active || this.#shadow.length > 0 ? shadowView(this.#bundle, this.#shadow) : nothing}`
          : html`<p role="status">Loading…</p>`
      }`;
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
      'Calibrated in': calibration.precision,
    }),
    ...Object.fromEntries(Object.entries(metrics).map(([name, value]) => [name, significant(value)])),
  };
  return html`
    ${note ? html`<p>${note}</p>` : nothing}
    ${calibration?.remark ? html`<p class="problem">${calibration.remark}</p>` : nothing}
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

/** What it said in shadow, beside what the promoted bundle said; where the two differ most comes first. */
function shadowView({ shadow }, studies) {
  const distance = ({ candidate, promoted }) => Math.abs(candidate.percentile - promoted.score.percentile);
  const differ = ({ candidate, promoted }) => candidate.flagged !== promoted.score.flagged;
  return html`<section aria-labelledby="shadow">
    <h2 id="shadow">In shadow</h2>
    <p>
      ${shadow.active ? 'It scores beside the promoted bundle and writes nothing.' : 'It no longer scores in shadow.'}
      Of ${shadow.studies} ${shadow.studies === 1 ? 'study' : 'studies'} it flags ${shadow.flagged}, the
      promoted bundle ${shadow.flaggedByPromoted}; both say the same of ${shadow.agreed}.
    </p>
    ${
      studies.length > 0
        ? html`${scatter(
              studies.map((study) => ({
                x: study.promoted.score.percentile,
                y: study.candidate.percentile,
                above: differ(study),
              })),
              {
                label: `Percentiles of ${studies.length} studies by both bundles; triangles are flagged by one of them only`,
                xName: 'the promoted bundle',
                yName: 'this one',
              },
            )}
            <table>
              <thead>
                <tr>
                  ${['Study', 'This bundle', 'Promoted bundle'].map((name) => html`<th scope="col">${name}</th>`)}
                </tr>
              </thead>
              <tbody>
                ${studies
                  .toSorted((a, b) => differ(b) - differ(a) || distance(b) - distance(a))
                  .slice(0, listedShadows)
                  .map(
                    (study) =>
                      html`<tr>
                        <td data-label="Study">
                          <a class="uid" href="#${studyPath(study).replace('/studies/', '/study/')}"
                            >${study.studyInstanceUID}</a
                          >
                        </td>
                        <td data-label="This bundle">${verdict(study.candidate)}</td>
                        <td data-label="Promoted bundle">
                          ${verdict(study.promoted.score)}
                          <div class="uid">${study.promoted.bundle}</div>
                        </td>
                      </tr>`,
                  )}
              </tbody>
            </table>`
        : nothing
    }
  </section>`;
}

/** A score in few words. */
export function verdict({ percentile, flagged }) {
  return html`percentile
  ${percentileText(percentile)}${flagged ? html` <span class="flagged">▲ flagged</span>` : nothing}`;
}

/** How a retraining went: its losses, and the conditions that the candidate had to meet. */
function retrainingView({ curves, data, gate, outcome, reason, comparedWith, evaluatedBy, labelled }) {
  const losses = { 'Loss in training': curves.training, 'Loss of held-out slices': curves.heldOut };
  return html`<section aria-label="Retraining">
    <h2>Retraining</h2>
    <p>
      ${outcome}${reason ? `: ${reason}` : ''}; compared with ${comparedWith ?? 'nothing'}, evaluated by
      ${evaluatedBy}.
      ${
        labelled
          ? `Labelled abnormal studies of ${data.abnormal.patients} patients, too few to decide: AUROC ${significant(labelled.candidate.auroc)}${labelled.promoted ? `, of the promoted bundle ${significant(labelled.promoted.auroc)}` : ''}.`
          : nothing
      }
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

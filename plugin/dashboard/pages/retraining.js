import { html, nothing } from '/lit-html/lit-html.js';
import { change, read } from '../api.js';

/** Schedules of retraining, and what came of them. */
export class RetrainingPage {
  title = 'Retraining';
  #dashboard;
  #schedules;
  #retrainings = [];
  #latest = 0;

  constructor(dashboard) {
    this.#dashboard = dashboard;
  }

  async load() {
    const turn = ++this.#latest;
    const [{ schedules }, { retrainings }] = await Promise.all([read('/schedules'), read('/retrainings')]);
    if (turn !== this.#latest) return; // read again meanwhile, perhaps faster
    this.#schedules = schedules;
    this.#retrainings = retrainings;
  }

  view() {
    return html`
      <h1 tabindex="-1">Retraining</h1>
      <p>
        New bundles are trained on normal studies when a schedule fires, and promoted if they pass the gate;
        otherwise they stay candidates.
      </p>
      ${this.#schedules ? this.#schedulesView() : html`<p role="status">Loading…</p>`}
      ${this.#retrainings.length > 0 ? this.#historyView() : nothing}
    `;
  }

  #schedulesView() {
    if (this.#schedules.length === 0) {
      return html`<p>
        No schedule is set. <code>retraining.schedules</code> in <code>qfae.yaml</code> makes one; README.md
        tells how.
      </p>`;
    }
    return html`<section aria-labelledby="schedules">
      <h2 id="schedules">Schedules</h2>
      <table>
        <thead>
          <tr>
            ${['Schedule', 'Fires', 'Next', 'Last', ''].map((name) => (name ? html`<th scope="col">${name}</th>` : html`<td></td>`))}
          </tr>
        </thead>
        <tbody>
          ${this.#schedules.map((schedule) => this.#row(schedule))}
        </tbody>
      </table>
    </section>`;
  }

  #row({ name, profile, cron, timezone, paused, next, last }) {
    const button = (text, action) =>
      html`<button aria-label="${text} ${name}" @click=${() => this.#change(`/schedules/${name}/${action}`)}>
        ${text}
      </button>`;
    return html`<tr>
      <td data-label="Schedule">
        ${name}
        <div class="small">profile ${profile}</div>
      </td>
      <td data-label="Fires"><code>${cron}</code> <span class="small">${timezone}</span></td>
      <td data-label="Next">
        ${paused ? html`<span class="state">paused</span>` : new Date(next).toLocaleString()}
      </td>
      <td data-label="Last">${last ? outcome(last) : '–'}</td>
      <td class="buttons">
        ${
          this.#dashboard.may('admin')
            ? html`${button('Train now', 'run')}
              ${paused ? button('Resume', 'resume') : button('Pause', 'pause')}`
            : nothing
        }
      </td>
    </tr>`;
  }

  #historyView() {
    return html`<section aria-labelledby="history">
      <h2 id="history">What came of them</h2>
      <table>
        <thead>
          <tr>
            ${['Due', 'Schedule', 'Result'].map((name) => html`<th scope="col">${name}</th>`)}
          </tr>
        </thead>
        <tbody>
          ${this.#retrainings.map(
            (retraining) =>
              html`<tr>
                <td data-label="Due">${new Date(retraining.dueAt).toLocaleString()}</td>
                <td data-label="Schedule">${retraining.schedule}</td>
                <td data-label="Result">${outcome(retraining)}</td>
              </tr>`,
          )}
        </tbody>
      </table>
    </section>`;
  }

  #change(path) {
    void this.#dashboard.attempt(async () => {
      await change(path);
      await this.load();
    });
  }
}

/** What came of a retraining, why, and the bundle that it made. */
function outcome({ state, outcome, reason, bundle, attempt }) {
  return html`<span class="state ${state}">${outcome ?? state}</span>
    ${state === 'running' && attempt > 1 ? html`<span class="small">attempt ${attempt}</span>` : nothing}
    ${reason ? html`<div class="small">${reason}</div>` : nothing}
    ${bundle ? html`<div><a class="uid" href="#/bundle/${bundle}">${bundle}</a></div>` : nothing}`;
}

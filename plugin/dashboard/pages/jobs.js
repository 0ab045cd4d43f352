import { html, nothing } from '/lit-html/lit-html.js';
import { change, queryOf, read } from '../api.js';

const states = [
  ['', 'all'],
  ['failed', 'failed'],
  ['queued', 'waiting'],
  ['running', 'running'],
  ['scored', 'scored'],
  ['not-scored', 'not scored'],
  ['cancelled', 'cancelled'],
];
const pageSize = 100;

/** Jobs, with the step that failed and why. */
export class JobsPage {
  title = 'Jobs';
  #dashboard;
  #state;
  #jobs = [];
  #loaded = false;
  #latest = 0;

  constructor(dashboard, _parameters, query) {
    this.#dashboard = dashboard;
    this.#state = query.get('state') ?? '';
  }

  keys = {
    f: [
      'failed ones only',
      () => (location.hash = this.#state === 'failed' ? '#/jobs' : '#/jobs?state=failed'),
    ],
  };

  async load() {
    const turn = ++this.#latest;
    const { jobs } = await read(`/jobs?${queryOf({ state: this.#state, limit: pageSize })}`);
    if (turn !== this.#latest) return; // read again meanwhile, perhaps faster
    this.#jobs = jobs;
    this.#loaded = true;
  }

  view() {
    return html`
      <h1 tabindex="-1">Jobs</h1>
      <div class="filters">
        <label
          >State
          <select @change=${(event) => (location.hash = `#/jobs?${queryOf({ state: event.target.value })}`)}>
            ${states.map(([value, text]) => html`<option value=${value} ?selected=${value === this.#state}>${text}</option>`)}
          </select></label
        >
      </div>
      <p role="status">
        ${this.#loaded ? `${this.#jobs.length}${this.#jobs.length === pageSize ? ' newest' : ''} ${this.#jobs.length === 1 ? 'job' : 'jobs'}` : 'Loading…'}
      </p>
      <table>
        <thead>
          <tr>
            ${['State', 'Study', 'Asked for', 'Attempts', 'Priority', ''].map((name) =>
              name ? html`<th scope="col">${name}</th>` : html`<td></td>`,
            )}
          </tr>
        </thead>
        <tbody>
          ${this.#jobs.map((job) => this.#row(job))}
        </tbody>
      </table>
    `;
  }

  #row(job) {
    const { state, step, reason, worker, nextAttemptAt } = job;
    const button = (text, action, body) =>
      this.#dashboard.may('admin') &&
      html`<button @click=${() => this.#change(`/jobs/${job.id}/${action}`, body)}>${text}</button>`;
    const ended = ['failed', 'cancelled'].includes(state);
    return html`<tr>
      <td data-label="State">
        <span class="state ${state}">${state}</span>
        ${step ? html`<div>${ended ? 'failed at' : 'at'} step <strong>${step}</strong></div>` : nothing}
        ${reason ? html`<div class="small">${reason}</div>` : nothing}
      </td>
      <td data-label="Study">
        <a class="uid" href="#/study/${job.archive}/${job.studyInstanceUID}">${job.studyInstanceUID}</a>
        <div class="small">
          in ${job.archive}${job.bundle ? `, by ${job.bundle}` : ''}${worker ? `, ran in ${worker}` : ''}
        </div>
      </td>
      <td data-label="Asked for">${new Date(job.requestedAt).toLocaleString()}</td>
      <td data-label="Attempts">
        ${job.failedAttempts > 0 ? `${job.failedAttempts} failed` : '–'}
        ${nextAttemptAt ? html`<div class="small">next ${new Date(nextAttemptAt).toLocaleTimeString()}</div>` : nothing}
      </td>
      <td data-label="Priority">${job.priority}</td>
      <td class="buttons">
        ${(ended && button('Retry', 'retry')) || nothing}
        ${(state === 'queued' && button('Score first', 'priority', { priority: 1000 })) || nothing}
        ${(['queued', 'running'].includes(state) && button('Cancel', 'cancel')) || nothing}
      </td>
    </tr>`;
  }

  #change(path, body) {
    void this.#dashboard.attempt(async () => {
      await change(path, body);
      await this.load();
    });
  }
}

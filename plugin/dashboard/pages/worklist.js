import { html, nothing } from '/lit-html/lit-html.js';
import { queryOf, read, viewerAddress } from '../api.js';
import { percentileText } from '../charts.js';
import { newerScoring } from '../newer-scoring.js';

const pageSize = 50;
/** Pictures of one study that the list shows. */
const shownHeatmaps = 3;
/** Their largest side, in pixels. */
const thumbnailSide = 128;
/** SOP class of the heatmaps: Secondary Capture. */
const secondaryCapture = '1.2.840.10008.5.1.4.1.1.7';

/** Filters, as the API names them: what they are called, and their choices where they have some. */
const filters = {
  status: [
    'Status',
    [
      ['', 'all'],
      ['scored', 'scored'],
      ['queued,running', 'on its way'],
      ['not-scored', 'not scored'],
      ['failed,cancelled', 'failed'],
    ],
  ],
  flagged: [
    'Flagged',
    [
      ['', 'all'],
      ['true', 'flagged'],
      ['false', 'not flagged'],
    ],
  ],
  feedback: [
    'Read',
    [
      ['', 'all'],
      ['none', 'not yet'],
      ['normal,abnormal,artefact', 'by a reader'],
      ['abnormal', 'abnormal'],
    ],
  ],
  sort: [
    'Order',
    [
      ['', 'most abnormal first'],
      ['priority', 'priority, then abnormality'],
      ['newest', 'newest first'],
      ['oldest', 'oldest first'],
      ['studyDate', 'study date'],
    ],
  ],
  modality: ['Modality'],
  profile: ['Profile'],
  studyDateFrom: ['From', undefined, 'date'],
  studyDateTo: ['To', undefined, 'date'],
  study: ['Study UID'],
};

/** The worklist: studies by anomaly. */
export class WorklistPage {
  title = 'Worklist';
  studies = [];
  total = 0;
  loaded = false;
  chosen = 0;
  #dashboard;
  #query;
  /** Archives whose studies OHIF shows here. */
  #viewer;

  constructor(dashboard, _parameters, query) {
    this.#dashboard = dashboard;
    this.#query = query;
  }

  keys = {
    ArrowDown: ['next study', () => this.#choose(this.chosen + 1)],
    ArrowUp: ['study before', () => this.#choose(this.chosen - 1)],
    Enter: ['open the study', () => this.#openChosen()],
    '/': ['filter', () => document.querySelector('.filters select').focus()],
    x: ['without filters', () => (location.hash = '#/')],
  };

  async load() {
    const query = new URLSearchParams(this.#query);
    query.set('limit', pageSize);
    const { studies, total } = await read(`/studies?${query}`);
    this.#viewer ??= (await read('/node')).viewer;
    Object.assign(this, { studies, total, loaded: true });
    this.chosen = Math.max(0, Math.min(this.chosen, studies.length - 1));
  }

  view() {
    if (this.loaded && this.total === 0 && this.#query.size === 0) {
      return html`<h1 tabindex="-1">Worklist</h1>
        <p>No studies yet.</p>
        <p><a class="button" href="#/start">Set up the node, or load a sample study</a></p>`;
    }
    const offset = Number(this.#query.get('offset') ?? 0);
    return html`
      <h1 tabindex="-1">Worklist</h1>
      ${this.#filtersView()}
      <p role="status">${this.loaded ? this.#count(offset) : 'Loading…'}</p>
      <table class="worklist">
        <thead>
          <tr>
            ${['Percentile', 'Study', 'Result', 'Read', 'Priority', 'Heatmaps'].map(
              (name) => html`<th scope="col">${name}</th>`,
            )}
          </tr>
        </thead>
        <tbody>
          ${this.studies.map((study, i) => this.#row(study, i))}
        </tbody>
      </table>
      ${
        this.total > pageSize
          ? html`<nav class="paging" aria-label="Parts of the list">
              ${offset > 0 ? html`<a href=${this.#address({ offset: offset - pageSize })}>Before</a>` : nothing}
              ${
                offset + pageSize < this.total
                  ? html`<a href=${this.#address({ offset: offset + pageSize })}>More</a>`
                  : nothing
              }
            </nav>`
          : nothing
      }
    `;
  }

  #count(offset) {
    const shown = this.studies.length;
    if (shown === this.total) return `${shown} ${shown === 1 ? 'study' : 'studies'}`;
    return `${offset + 1} to ${offset + shown} of ${this.total} studies`;
  }

  #filtersView() {
    const set = (name) => (event) => {
      location.hash = this.#address({ [name]: event.target.value.trim(), offset: '' });
    };
    return html`<form class="filters" @submit=${(event) => event.preventDefault()}>
      ${Object.entries(filters).map(([name, [label, choices, type]]) => {
        const value = this.#query.get(name) ?? '';
        return html`<label
          >${label}
          ${
            choices
              ? html`<select @change=${set(name)}>
                  ${choices.map(
                    ([choice, text]) =>
                      html`<option value=${choice} ?selected=${choice === value}>${text}</option>`,
                  )}
                </select>`
              : html`<input type=${type ?? 'search'} .value=${value} @change=${set(name)} />`
          }</label
        >`;
      })}
    </form>`;
  }

  #address(changes) {
    const query = queryOf({ ...Object.fromEntries(this.#query), ...changes });
    return query ? `#/?${query}` : '#/';
  }

  #row(study, index) {
    const { archive, studyInstanceUID, subject, score, status, step, reason, feedback, next, results } =
      study;
    const heatmaps = results.filter(({ sopClassUID, url }) => url && sopClassUID === secondaryCapture);
    const what = [subject?.modality, subject?.studyDescription, subject?.seriesDescription];
    return html`<tr class=${index === this.chosen ? 'chosen' : ''}>
      <td data-label="Percentile">
        ${
          score
            ? html`<span class="percentile">${percentileText(score.percentile)}</span>
                <meter min="0" max="100" value=${score.percentile} aria-hidden="true"></meter>
                ${score.flagged ? html`<span class="flagged">▲ flagged</span>` : nothing}`
            : '–'
        }
      </td>
      <td data-label="Study">
        <a href="#/study/${archive}/${studyInstanceUID}">${what.filter(Boolean).join(' · ') || 'Study'}</a>
        <div class="small">${subject?.studyDate ?? ''} ${archive === 'local' ? '' : `in ${archive}`}</div>
        <div class="uid">${studyInstanceUID}</div>
        ${this.#viewer.includes(archive) ? html`<a class="small" href=${viewerAddress(study)}>open in OHIF</a>` : nothing}
      </td>
      <td data-label="Result">
        <span class="state ${status}">${status}</span>
        ${step ? html`<div class="small">at step ${step}</div>` : nothing}
        ${reason ? html`<div class="small">${reason}</div>` : nothing}
        ${next ? html`<div class="small">${newerScoring(next)}</div>` : nothing}
        <div class="uid">${study.bundle ?? ''}</div>
      </td>
      <td data-label="Read">
        ${
          feedback && feedback.label !== 'withdrawn'
            ? html`${feedback.label}
                <div class="small">${feedback.reader}</div>`
            : '–'
        }
      </td>
      <td data-label="Priority">${study.priority}</td>
      <td data-label="Heatmaps" class="thumbnails">
        ${heatmaps
          .slice(0, shownHeatmaps)
          .map(
            ({ url }, i) =>
              html`<img
                src="${url}/rendered?viewport=${thumbnailSide},${thumbnailSide}"
                alt="heatmap ${i + 1}"
                loading="lazy"
              />`,
          )}
        ${heatmaps.length > shownHeatmaps ? html`<span class="small">${heatmaps.length} in all</span>` : nothing}
      </td>
    </tr>`;
  }

  #choose(index) {
    this.chosen = Math.max(0, Math.min(this.studies.length - 1, index));
    this.#dashboard.update();
    document.querySelector('tr.chosen a')?.focus();
    document.querySelector('tr.chosen')?.scrollIntoView({ block: 'nearest' });
  }

  #openChosen() {
    const study = this.studies[this.chosen];
    if (study) location.hash = `#/study/${study.archive}/${study.studyInstanceUID}`;
  }
}

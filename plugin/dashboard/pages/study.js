import { html, nothing } from '/lit-html/lit-html.js';
import { change, read, readPicture, studyPath, viewerAddress } from '../api.js';
import { histogram, line, percentileText, significant } from '../charts.js';
import { drawHeatmap } from '../heatmap-canvas.js';
import { newerScoring } from '../newer-scoring.js';
import { verdict } from './bundle.js';

/** A drag of this many pixels over a picture moves the window by the range of the slice's values. */
const dragPixels = 400;
/** The window follows the slider when it rests for so long. */
const settleMs = 120;
/** Pictures that are kept decoded. */
const keptPictures = 96;

const judgements = [
  ['normal', 'Confirm normal'],
  ['abnormal', 'Confirm abnormal'],
  ['artefact', 'Spoilt by an artefact'],
];

/** One study: its slices with the heatmap, its score among those of normal studies, what readers say. */
export class StudyPage {
  title = 'Study';
  #dashboard;
  #archive;
  #uid;
  #study;
  #bundle;
  #style;
  /** Archives whose studies OHIF shows here. */
  #viewer = [];
  /** The slice that is asked for. */
  #index;
  /** The slice that is seen, with its pictures; undefined where none could be read. */
  #drawn;
  #reading = false;
  #window;
  #opacity;
  #threshold;
  #heatmap = true;
  #reconstruction = false;
  #reader;
  #comment = '';
  #said = '';
  #pictures = new Map();
  #timer;
  #latest = 0;

  constructor(dashboard, [archive, uid], query) {
    this.#dashboard = dashboard;
    this.#archive = archive;
    this.#uid = uid;
    this.#reader = dashboard.session.required
      ? dashboard.session.name
      : (sessionStorage.getItem('reader') ?? '');
    const slice = Number(query.get('slice'));
    if (slice >= 1) this.#index = slice - 1;
  }

  keys = {
    ArrowDown: ['next slice', () => this.#show(this.#index + 1)],
    ArrowUp: ['slice before', () => this.#show(this.#index - 1)],
    PageDown: ['ten slices on', () => this.#show(this.#index + 10)],
    PageUp: ['ten slices back', () => this.#show(this.#index - 10)],
    Home: ['first slice', () => this.#show(0)],
    End: ['last slice', () => this.#show(Infinity)],
    m: ['most abnormal slice', () => this.#show(this.#highest())],
    h: ['heatmap on and off', () => this.#set(() => (this.#heatmap = !this.#heatmap))],
    r: ['reconstruction beside it', () => this.#set(() => (this.#reconstruction = !this.#reconstruction))],
    o: ['less opaque', () => this.#set(() => (this.#opacity = Math.max(0, this.#opacity - 0.1)))],
    O: ['more opaque', () => this.#set(() => (this.#opacity = Math.min(1, this.#opacity + 0.1)))],
    t: [
      'show lower values too',
      () => this.#set(() => (this.#threshold = Math.max(0, this.#threshold - 0.1))),
    ],
    T: [
      'show higher values only',
      () => this.#set(() => (this.#threshold = Math.min(1.9, this.#threshold + 0.1))),
    ],
    v: ['its own window', () => this.#ownWindow()],
    u: ['back to the worklist', () => history.back()],
  };

  onEvent(_type, data) {
    if (data.studyInstanceUID === this.#uid) void this.#dashboard.read();
  }

  close() {
    this.#latest++; // what is still on its way is not drawn
    this.#drawn = undefined;
    for (const picture of this.#pictures.values())
      void picture.then(
        (kept) => kept.close?.(),
        () => undefined,
      );
    clearTimeout(this.#timer);
  }

  async load() {
    const before = this.#study?.finishedAt;
    const study = await read(this.#path());
    if (!this.#style) {
      this.#style = await read('/heatmap-style');
      this.#opacity = this.#style.greatestOpacity;
      this.#threshold = this.#style.transparentBelow * this.#style.scaleEnd;
      this.#viewer = (await read('/node')).viewer;
    }
    if (study.bundle && study.bundle !== this.#bundle?.id) {
      this.#bundle = await read(`/bundles/${study.bundle}`).catch(() => undefined); // it may be gone by now
    }
    this.#study = study;
    if (study.finishedAt !== before) {
      this.#pictures.clear();
      this.#drawn = undefined;
      this.#draw();
    }
    if (study.slices.length > 0)
      await this.#showSlice(Math.min(this.#index ?? this.#highest(), study.slices.length - 1));
  }

  view() {
    const study = this.#study;
    if (!study)
      return html`<h1 tabindex="-1">Study</h1>
        <p role="status">Loading…</p>`;
    const { subject, score } = study;
    const what = [subject?.modality, subject?.studyDescription, subject?.studyDate]
      .filter(Boolean)
      .join(' · ');
    return html`
      <h1 tabindex="-1">${what || 'Study'}</h1>
      <p class="uid">${study.studyInstanceUID}</p>
      <p role="status" class="verdict">
        <span class="state ${study.status}">${study.status}</span>
        ${
          score
            ? html`<strong class="percentile">percentile ${percentileText(score.percentile)}</strong>
                ${score.flagged ? html`<span class="flagged">▲ flagged</span>` : html`<span>not flagged</span>`}
                <span
                  >raw score ${significant(score.rawScore)}, threshold ${significant(score.threshold)}, p =
                  ${significant(score.pValue)}</span
                >`
            : nothing
        }
        ${study.step ? html`<span>at step ${study.step}</span>` : nothing}
        ${study.reason ? html`<span>${study.reason}</span>` : nothing}
        ${study.next ? html`<span>${newerScoring(study.next)}</span>` : nothing}
      </p>
      ${this.#bundle?.origin === 'untrained' ? html`<p class="problem">Scored by an untrained model: the score means nothing.</p>` : nothing}
      <div class="study">
        ${study.slices.length > 0 ? this.#stage() : nothing}
        <div class="aside">
          ${this.#feedbackView()}
          ${
            this.#bundle?.calibration && score
              ? html`<section aria-labelledby="normals">
                  <h2 id="normals">Among normal studies</h2>
                  ${histogram(this.#bundle.calibration.scores, score.threshold, score.rawScore)}
                </section>`
              : nothing
          }
          ${this.#resultsView()}
        </div>
      </div>
    `;
  }

  #stage() {
    const { slices } = this.#study;
    const seen = this.#drawn?.index ?? this.#index ?? 0;
    const slice = slices[seen];
    const { position } = slice;
    return html`<section class="stage" aria-labelledby="slices">
      <h2 id="slices">
        Slice ${seen + 1} of ${slices.length}
        <span class="small"
          >percentile
          ${percentileText(slice.score.percentile)}${slice.score.flagged ? ', ▲ flagged' : ''}${
            position === null ? '' : `, at ${position.toFixed(1)} mm`
          }</span
        >
      </h2>
      <div
        class="pictures"
        aria-busy=${this.#reading}
        @wheel=${(event) => this.#wheel(event)}
        @pointermove=${(event) => this.#drag(event)}
      >
        <figure>
          <canvas
            id="slice"
            role="img"
            aria-label="Slice ${seen + 1}${this.#heatmap ? ' with heatmap' : ''}"
          ></canvas>
          <figcaption>
            ${this.#heatmap ? 'Slice with heatmap; what is above the threshold of the map is outlined' : 'Slice'}
          </figcaption>
        </figure>
        <figure ?hidden=${!this.#reconstruction}>
          <canvas id="reconstruction" role="img" aria-label="Reconstruction of slice ${seen + 1}"></canvas>
          <figcaption>What the model made of it, with what it knows of normal ones</figcaption>
        </figure>
      </div>
      ${this.#drawn && !this.#drawn.slice.gridToSlice ? html`<p>The anomaly maps of this study are not kept any more.</p>` : nothing}
      <div class="controls">
        ${this.#range('Slice', 1, slices.length, 1, (this.#index ?? 0) + 1, (value) => this.#show(value - 1))}
        ${this.#windowView()}
        ${this.#range('Opacity', 0, 1, 0.05, this.#opacity, (value) => this.#set(() => (this.#opacity = value)))}
        ${this.#range('Shown from (× threshold)', 0, 1.95, 0.05, this.#threshold, (value) => this.#set(() => (this.#threshold = value)))}
        <label class="check"
          ><input
            type="checkbox"
            .checked=${this.#heatmap}
            @change=${() => this.#set(() => (this.#heatmap = !this.#heatmap))}
          />
          Heatmap</label
        >
        <label class="check"
          ><input
            type="checkbox"
            .checked=${this.#reconstruction}
            @change=${() => this.#set(() => (this.#reconstruction = !this.#reconstruction))}
          />
          Reconstruction</label
        >
        <button @click=${() => this.#ownWindow()}>Own window</button>
      </div>
      <section aria-labelledby="along">
        <h2 id="along">Along the slices</h2>
        ${line(
          slices.map(({ score }) => ({ value: score.rawScore, above: score.flagged })),
          {
            label: `Raw score of each slice; the highest is slice ${this.#highest() + 1}`,
            threshold: slice.score.threshold,
            chosen: this.#index,
            choose: (index) => this.#show(index),
          },
        )}
      </section>
    </section>`;
  }

  #windowView() {
    const window = this.#presentWindow();
    if (!window) return nothing;
    const { lowest, highest } = this.#drawn.slice.window;
    const range = Math.max(highest - lowest, 1);
    const step = range > 20 ? 1 : range / 100;
    return html`
      ${this.#range('Window centre', lowest, highest, step, window.center, (center) => this.#setWindow({ ...window, center }))}
      ${this.#range('Window width', step, 2 * range, step, window.width, (width) => this.#setWindow({ ...window, width }))}
    `;
  }

  #range(label, low, high, step, value, set) {
    return html`<label
      >${label}
      <input
        type="range"
        min=${low}
        max=${high}
        step=${step}
        .value=${String(value)}
        @input=${(event) => set(Number(event.target.value))}
      /><output>${significant(value)}</output></label
    >`;
  }

  #feedbackView() {
    const { feedback, feedbackHistory } = this.#study;
    const label = feedback && feedback.label !== 'withdrawn' ? feedback.label : undefined;
    return html`<section aria-labelledby="reading">
      <h2 id="reading">What a reader says</h2>
      <p role="status">
        ${this.#said || (label ? `${label}, says ${feedback.reader}` : 'Nobody has read it yet.')}
      </p>
      <form class="feedback" @submit=${(event) => event.preventDefault()}>
        <label
          >Reader
          <input
            name="reader"
            autocomplete="name"
            maxlength="100"
            .value=${this.#reader}
            ?readonly=${this.#dashboard.session.required}
            @input=${(event) => (this.#reader = event.target.value)}
        /></label>
        <label
          >Comment
          <textarea
            rows="2"
            maxlength="2000"
            .value=${this.#comment}
            @input=${(event) => (this.#comment = event.target.value)}
          ></textarea>
        </label>
        <div class="buttons">
          ${judgements.map(
            ([value, text]) =>
              html`<button type="button" aria-pressed=${value === label} @click=${() => this.#judge(value)}>
                ${text}
              </button>`,
          )}
          ${label ? html`<button type="button" class="quiet" @click=${() => this.#judge('withdrawn')}>Take back</button>` : nothing}
        </div>
      </form>
      ${
        feedbackHistory.length > 0
          ? html`<ul class="small">
              ${feedbackHistory.map(
                ({ label, reader, comment, givenAt }) =>
                  html`<li>
                    ${new Date(givenAt).toLocaleString()}: ${label},
                    ${reader}${comment ? html` – ${comment}` : nothing}
                  </li>`,
              )}
            </ul>`
          : nothing
      }
    </section>`;
  }

  #resultsView() {
    const { scorings, bundle, rule, shadow } = this.#study;
    return html`<section aria-labelledby="scorings">
      <h2 id="scorings">Scorings</h2>
      <p>
        ${bundle ? html`by <a href="#/bundle/${bundle}">${bundle}</a>` : nothing}${rule ? html`, rule “${rule}”` : nothing}
      </p>
      ${this.#study.status === 'scored' ? html`<p><a href="/api/v1${this.#path('/report')}">Report on one page</a></p>` : nothing}
      ${this.#viewer.includes(this.#archive) ? html`<p><a class="button" href=${viewerAddress(this.#study)}>Open in OHIF</a></p>` : nothing}
      <ul class="small">
        ${scorings.map(
          ({ status, step, reason, requestedAt, score }) =>
            html`<li>
              ${new Date(requestedAt).toLocaleString()}:
              ${[status, step && `at step ${step}`, reason].filter(Boolean).join(' ')}${score ? `, percentile ${percentileText(score.percentile)}` : ''}
            </li>`,
        )}
      </ul>
      ${
        shadow.length > 0
          ? html`<h3>In shadow</h3>
              <ul class="small">
                ${shadow.map(
                  ({ bundle, score, scoredAt }) =>
                    html`<li>
                      ${new Date(scoredAt).toLocaleString()}: <a href="#/bundle/${bundle}">${bundle}</a> would
                      say ${verdict(score)}
                    </li>`,
                )}
              </ul>`
          : nothing
      }
    </section>`;
  }

  #path(rest = '') {
    return studyPath({ archive: this.#archive, studyInstanceUID: this.#uid }) + rest;
  }

  #highest() {
    return this.#study.slices.reduce(
      (best, { score }, i, all) => (score.rawScore > all[best].score.rawScore ? i : best),
      0,
    );
  }

  #show(index) {
    const { slices } = this.#study;
    if (slices.length === 0) return;
    const wanted = Math.max(0, Math.min(slices.length - 1, index));
    void this.#dashboard.attempt(() => this.#showSlice(wanted));
  }

  /**
   * Reads the pictures of a slice and shows them, unless another one is asked for meanwhile. Until then the one before
   * stays, under its own heading; where they cannot be read, nothing does.
   */
  async #showSlice(index) {
    this.#index = index;
    const turn = ++this.#latest;
    this.#reading = true;
    this.#dashboard.update();
    try {
      const drawn = await this.#read(index, turn);
      if (turn === this.#latest) this.#drawn = drawn;
    } catch (error) {
      if (turn !== this.#latest) return;
      this.#drawn = undefined;
      throw error;
    } finally {
      if (turn === this.#latest) {
        this.#reading = false;
        this.#dashboard.update();
        this.#draw();
      }
    }
    if (turn === this.#latest) this.#readAhead(index);
  }

  async #read(index, turn) {
    const path = this.#path(`/slices/${index + 1}`);
    const slice = await this.#kept(path, () => read(path));
    if (turn !== this.#latest) return undefined;
    const [image, map, reconstruction] = await Promise.all([
      this.#keptPicture(`${path}/image${this.#windowQuery()}`),
      slice.gridToSlice && this.#keptPicture(`${path}/map`),
      slice.gridToSlice && this.#keptPicture(`${path}/reconstruction`),
    ]);
    return { index, slice, image, map, reconstruction };
  }

  #readAhead(index) {
    for (const next of [index + 1, index - 1]) {
      if (next < 0 || next >= this.#study.slices.length) continue;
      const path = this.#path(`/slices/${next + 1}`);
      for (const name of [
        `/image${this.#windowQuery()}`,
        ...(this.#drawn.slice.gridToSlice ? ['/map'] : []),
      ]) {
        this.#keptPicture(path + name).catch(() => undefined);
      }
    }
  }

  #windowQuery() {
    return this.#window ? `?window=${this.#window.center},${this.#window.width}` : '';
  }

  #keptPicture(path) {
    return this.#kept(path, () => readPicture(path));
  }

  /** What was read before, or is read now. */
  #kept(key, make) {
    let made = this.#pictures.get(key);
    this.#pictures.delete(key);
    made ??= make();
    this.#pictures.set(key, made);
    made.catch(() => this.#pictures.delete(key));
    for (const [oldest] of [...this.#pictures].slice(0, -keptPictures)) this.#pictures.delete(oldest);
    return made;
  }

  #draw() {
    const canvas = document.querySelector('#slice');
    if (!canvas) return;
    const beside = document.querySelector('#reconstruction');
    if (!this.#drawn) {
      for (const one of [canvas, beside]) one.getContext('2d').reset();
      return;
    }
    const { slice, image, map, reconstruction } = this.#drawn;
    for (const one of [canvas, beside]) {
      one.style.setProperty('--aspect', image.width / (image.height * slice.pixelAspectRatio));
    }
    drawHeatmap(canvas, image, {
      map: this.#heatmap ? map : undefined,
      gridToSlice: slice.gridToSlice,
      style: this.#style,
      opacity: this.#opacity,
      threshold: this.#threshold,
    });
    if (!reconstruction || !this.#reconstruction) return;
    Object.assign(beside, { width: image.width, height: image.height });
    const [a, b, c, d, e, f] = slice.gridToSlice;
    const context = beside.getContext('2d');
    context.setTransform(a, d, b, e, c, f);
    context.drawImage(reconstruction, 0, 0);
  }

  #set(action) {
    action();
    this.#dashboard.update();
    this.#draw();
  }

  #presentWindow() {
    const own = this.#drawn?.slice.window;
    return own && (this.#window ?? own);
  }

  #setWindow({ center, width }) {
    this.#window = { center, width: Math.max(width, 1) };
    this.#dashboard.update();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#show(this.#index), settleMs);
  }

  #ownWindow() {
    this.#window = undefined;
    this.#show(this.#index);
  }

  #wheel(event) {
    event.preventDefault();
    this.#show(this.#index + Math.sign(event.deltaY));
  }

  /** As in other viewers: across changes the width, down the centre. */
  #drag(event) {
    const window = this.#presentWindow();
    if (event.buttons !== 1 || !window) return;
    const step = Math.max(this.#drawn.slice.window.highest - this.#drawn.slice.window.lowest, 1) / dragPixels;
    this.#setWindow({
      center: window.center + event.movementY * step,
      width: window.width + event.movementX * step,
    });
  }

  async #judge(label) {
    await this.#dashboard.attempt(async () => {
      if (this.#reader.trim() === '') {
        document.querySelector('[name=reader]').focus();
        throw new Error('Say who reads: the name stays with the judgement.');
      }
      if (!this.#dashboard.session.required) sessionStorage.setItem('reader', this.#reader);
      const comment = this.#comment.trim();
      await change(this.#path('/feedback'), { label, reader: this.#reader, ...(comment && { comment }) });
      this.#comment = '';
      this.#said = label === 'withdrawn' ? 'Taken back.' : `Kept: ${label}.`;
      this.#study = await read(this.#path());
    });
  }
}

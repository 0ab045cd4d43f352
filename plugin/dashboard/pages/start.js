import { html, nothing } from '/lit-html/lit-html.js';
import { change, read } from '../api.js';

/** What a new administrator needs: what scores here, a sample to try, how to connect Orthanc. */
export class StartPage {
  title = 'Set up';
  #dashboard;
  #node;
  #bundle;
  #studies = 0;
  #sample = '';

  constructor(dashboard) {
    this.#dashboard = dashboard;
  }

  async load() {
    this.#node = await read('/node');
    this.#bundle = await read(`/bundles/${this.#node.bundle}`).catch(() => undefined);
    this.#studies = (await read('/studies?limit=1')).total;
  }

  view() {
    const node = this.#node;
    return html`
      <h1 tabindex="-1">Set up</h1>
      <p>
        This node scores every study that it gets for anomalies, and writes what it found back into the study:
        a report and pictures with a heatmap. It learns from normal studies only.
        <strong>Not for diagnostic use.</strong>
      </p>
      <section aria-labelledby="scores">
        <h2 id="scores">What scores here</h2>
        ${
          this.#bundle
            ? html`<p><a href="#/bundle/${this.#bundle.id}">${this.#bundle.title}</a></p>
                ${this.#whatItIsWorth()}`
            : html`<p class="problem">The bundle ${node?.bundle ?? ''} of the settings cannot be read.</p>`
        }
      </section>
      <section aria-labelledby="sample">
        <h2 id="sample">Try it</h2>
        <p>
          A synthetic head with a lesion goes the way of every study: it arrives, is scored, and shows up
          here.
        </p>
        <p>
          <button
            @click=${() => this.#loadSample()}
            ?disabled=${this.#sample === 'loading' || !this.#dashboard.may('admin')}
          >
            Load a sample study
          </button>
        </p>
        <p role="status">${this.#sampleView()}</p>
      </section>
      <section aria-labelledby="orthanc">
        <h2 id="orthanc">Connect Orthanc</h2>
        ${node?.archives.includes('orthanc') ? html`<p>An Orthanc is connected.</p>` : nothing}
        <ol>
          <li>Orthanc needs its DICOMweb plugin: <code>apt install orthanc-dicomweb</code> in Debian.</li>
          <li>
            <code>npm run qfae -- init</code> asks where Orthanc is and writes <code>qfae.yaml</code>;
            <code>npm run qfae -- doctor</code> says whether it can be reached.
          </li>
          <li>
            Start the node again. From then on, every study that Orthanc receives is scored, and gets its
            result.
          </li>
        </ol>
        <p>Without Orthanc, send studies by STOW-RS to <code>${location.origin}/dicom-web/studies</code>.</p>
      </section>
    `;
  }

  #whatItIsWorth() {
    const next = `README.md tells how a bundle is trained on your own normal studies, or made of published
      weights.`;
    if (this.#bundle.origin === 'untrained') {
      return html`<p>
        This bundle has random weights: everything can be connected and tried out with it, but its scores mean
        nothing. ${next}
      </p>`;
    }
    return this.#bundle.note ? html`<p>${this.#bundle.note} ${next}</p>` : nothing;
  }

  #sampleView() {
    if (this.#sample === 'loading') return 'The sample is made: some seconds.';
    if (!this.#sample)
      return this.#studies > 0 ? html`<a href="#/">${this.#studies} studies are in the worklist.</a>` : '';
    return html`The sample is here. When nothing of it has arrived for ${this.#node.quietSeconds} seconds, it
      is scored: <a href="#/">see it in the worklist</a>.`;
  }

  async #loadSample() {
    this.#sample = 'loading';
    this.#dashboard.update();
    await this.#dashboard.attempt(async () => {
      try {
        this.#sample = (await change('/sample-study')).studyInstanceUID;
      } catch (error) {
        this.#sample = '';
        throw error;
      }
    });
  }
}

import { html, nothing } from '/lit-html/lit-html.js';
import { change, read } from '../api.js';
import { card } from './bundle.js';

/** What can score, and what does. */
export class BundlesPage {
  title = 'Bundles';
  #dashboard;
  #profiles = [];
  #bundles = [];
  #damaged = [];
  /** IDs that are compared. */
  #compared = new Set();
  #cards = [];
  #latest = 0;

  constructor(dashboard) {
    this.#dashboard = dashboard;
  }

  async load() {
    const turn = ++this.#latest;
    const [{ profiles }, { bundles, damaged }, ...cards] = await Promise.all([
      ...[read('/profiles'), read('/bundles')],
      ...[...this.#compared].map((id) => read(`/bundles/${id}`)),
    ]);
    if (turn !== this.#latest) return; // read again meanwhile, perhaps faster
    this.#profiles = profiles;
    this.#bundles = bundles;
    this.#damaged = damaged;
    this.#cards = cards;
  }

  view() {
    return html`
      <h1 tabindex="-1">Bundles</h1>
      ${this.#damaged.map(({ id, reason }) => html`<p class="problem">${id} cannot be read: ${reason}</p>`)}
      ${this.#profiles.map((profile) => this.#profileView(profile))}
      ${
        this.#cards.length > 0
          ? html`<section aria-labelledby="compared">
              <h2 id="compared">
                ${this.#cards.length === 1 ? 'Choose another one to compare with' : 'Compared'}
              </h2>
              <div class="cards">${this.#cards.map((bundle) => html`<div>${card(bundle)}</div>`)}</div>
            </section>`
          : nothing
      }
    `;
  }

  #profileView({ name, promoted, shadow, history, rules }) {
    const bundles = this.#bundles.filter(({ profile }) => profile === name);
    return html`<section aria-labelledby="profile-${name}">
      <h2 id="profile-${name}">Profile ${name}</h2>
      <p>
        ${promoted ? html`Scored by <strong>${promoted}</strong>` : 'No bundle is promoted'}${rules.length > 0 ? `; named by rules ${rules.join(', ')}` : ''}.
        ${
          history.length > 1 && this.#dashboard.may('admin')
            ? html`<button @click=${() => this.#change(`/profiles/${name}/rollback`)}>
                Roll back to ${history.at(-2)}
              </button>`
            : nothing
        }
      </p>
      <table>
        <thead>
          <tr>
            ${['Bundle', 'Origin', 'Compare', ''].map((title) => (title ? html`<th scope="col">${title}</th>` : html`<td></td>`))}
          </tr>
        </thead>
        <tbody>
          ${bundles.map(
            ({ id, title, origin, promoted }) =>
              html`<tr>
                <td data-label="Bundle">
                  <a href="#/bundle/${id}">${title}</a>
                  <div class="uid">${id}</div>
                </td>
                <td data-label="Origin">
                  ${origin} ${id === shadow ? html`<span class="state">in shadow</span>` : nothing}
                </td>
                <td data-label="Compare">
                  <input
                    type="checkbox"
                    aria-label="Compare ${id}"
                    .checked=${this.#compared.has(id)}
                    @change=${() => this.#compare(id)}
                  />
                </td>
                <td class="buttons">
                  ${promoted ? 'promoted' : nothing}
                  ${
                    !promoted && this.#dashboard.may('admin')
                      ? html`<button @click=${() => this.#change(`/bundles/${id}/promote`)}>Promote</button>`
                      : nothing
                  }
                </td>
              </tr>`,
          )}
        </tbody>
      </table>
    </section>`;
  }

  #compare(id) {
    if (!this.#compared.delete(id)) this.#compared.add(id);
    void this.#dashboard.attempt(() => this.load());
  }

  #change(path) {
    void this.#dashboard.attempt(async () => {
      await change(path);
      await this.load();
    });
  }
}

import { html, nothing, render } from '/lit-html/lit-html.js';
import { change, read, signIn } from './api.js';
import { BundlePage } from './pages/bundle.js';
import { BundlesPage } from './pages/bundles.js';
import { DriftPage } from './pages/drift.js';
import { JobsPage } from './pages/jobs.js';
import { RetrainingPage } from './pages/retraining.js';
import { StartPage } from './pages/start.js';
import { StudyPage } from './pages/study.js';
import { WorklistPage } from './pages/worklist.js';

/**
 * Pages by the first part of the address behind `#/`. A page has `title`, `load()`, which reads what it shows, and
 * `view()`; it may have `keys` (what its keys do, by key), `onEvent(type, data)` and `close()`.
 */
const pages = {
  '': WorklistPage,
  study: StudyPage,
  jobs: JobsPage,
  bundles: BundlesPage,
  bundle: BundlePage,
  retraining: RetrainingPage,
  drift: DriftPage,
  start: StartPage,
};

const navigation = [
  ['#/', 'Worklist', 'w'],
  ['#/jobs', 'Jobs', 'g'],
  ['#/bundles', 'Bundles', 'b'],
  ['#/retraining', 'Retraining', 'n'],
  ['#/drift', 'Drift', 'd'],
  ['#/start', 'Set up', 's'],
];

/** Events come in bursts: what is shown is read once for all of them. */
const settleMs = 200;

class Dashboard {
  page;
  error;
  help = false;
  reachable = true;
  /** Who is signed in, and whether one has to be. */
  session = { required: false, name: null, roles: [] };
  #stale = false;
  #reading = false;

  /** Shows the page that the address names. */
  async open() {
    const [path, query] = location.hash.slice(2).split('?');
    const [name, ...parameters] = path.split('/').map(decodeURIComponent);
    const Page = pages[name] ?? WorklistPage;
    this.page?.close?.();
    this.page = new Page(this, parameters, new URLSearchParams(query));
    this.help = false;
    await this.read();
    document.querySelector('h1')?.focus({ preventScroll: true });
  }

  /** Reads again what the page shows; once more where something happened meanwhile. */
  async read() {
    this.#stale = true;
    if (this.#reading) return;
    this.#reading = true;
    while (this.#stale) {
      this.#stale = false;
      const { page } = this;
      try {
        await page.load();
        this.error = undefined;
      } catch (error) {
        if (page === this.page) this.error = error.message;
      }
      this.update();
      await new Promise((resolve) => setTimeout(resolve, settleMs));
    }
    this.#reading = false;
  }

  /** Whether the node would let whoever is signed in do what needs a role. */
  may(role) {
    const { required, roles } = this.session;
    return !required || roles.includes(role) || roles.includes('admin');
  }

  /** Does what a reader asked for, and tells why it could not be done. */
  async attempt(action) {
    try {
      await action();
      this.error = undefined;
    } catch (error) {
      this.error = error.message;
    }
    this.update();
  }

  /** Shows the present state. */
  update() {
    document.title = `${this.page.title} · QFAE`;
    render(this.#view(), document.body);
  }

  onKey(event) {
    const { target, key } = event;
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const typing = target.matches?.('input:not([type=range]):not([type=checkbox]), select, textarea');
    if (key === 'Escape' && this.help) this.help = false;
    else if (typing) return;
    else if (key === '?') this.help = !this.help;
    else {
      const link = navigation.find(([, , one]) => one === key);
      const action = this.page.keys?.[key]?.[1] ?? (link && (() => (location.hash = link[0])));
      // Sliders keep the keys that move them.
      if (!action || (target.matches?.('[type=range]') && /^(Arrow|Page|Home|End)/.test(key))) return;
      action();
    }
    event.preventDefault();
    this.update();
  }

  #view() {
    const { page } = this;
    const here = location.hash.split('?')[0] || '#/';
    return html`
      <header>
        <p class="brand">QFAE <span>Not for diagnostic use</span></p>
        <nav aria-label="Pages">
          ${navigation.map(
            ([address, name]) =>
              html`<a href=${address} aria-current=${here === address ? 'page' : nothing}>${name}</a>`,
          )}
          ${
            this.session.required && this.session.name
              ? html`<button class="quiet" @click=${() => this.attempt(signOut)}>
                  ${this.session.name}: sign out
                </button>`
              : nothing
          }
          <button class="quiet" @click=${() => this.#toggleHelp()} aria-expanded=${this.help}>Keys ?</button>
        </nav>
      </header>
      <main>
        ${this.reachable ? nothing : html`<p class="problem" role="alert">The node cannot be reached.</p>`}
        ${this.error ? html`<p class="problem" role="alert">${this.error}</p>` : nothing}
        ${this.help ? this.#helpView() : nothing} ${page.view()}
      </main>
    `;
  }

  #toggleHelp() {
    this.help = !this.help;
    this.update();
  }

  #helpView() {
    const keys = [
      ...Object.entries(this.page.keys ?? {}).map(([key, [what]]) => [key, what]),
      ...navigation.map(([, name, key]) => [key, name]),
      ['?', 'these keys'],
    ];
    return html`<section class="help" aria-label="Keys">
      <dl>
        ${keys.map(
          ([key, what]) =>
            html`<div>
              <dt><kbd>${key}</kbd></dt>
              <dd>${what}</dd>
            </div>`,
        )}
      </dl>
    </section>`;
  }
}

const dashboard = new Dashboard();
addEventListener('hashchange', () => dashboard.open());
addEventListener('keydown', (event) => dashboard.onKey(event));

function listen() {
  const events = new EventSource('/api/v1/events');
  const tell = (type, data) => {
    if (dashboard.page?.onEvent) dashboard.page.onEvent(type, data);
    else void dashboard.read();
  };
  for (const type of ['study', 'feedback', 'bundle', 'rules', 'retraining']) {
    events.addEventListener(type, (event) => tell(type, JSON.parse(event.data)));
  }
  events.addEventListener('reset', () => void dashboard.read());
  events.addEventListener('open', () => {
    dashboard.reachable = true;
    void dashboard.read(); // what happened before it was open, nobody tells
  });
  // It connects again by itself, unless the node answered with something else than events.
  events.addEventListener('error', () => {
    dashboard.reachable = false;
    dashboard.update();
    if (events.readyState === EventSource.CLOSED) setTimeout(listen, 5000);
  });
}

async function signOut() {
  await change('/session/end');
  signIn();
}

dashboard.session = await read('/session');
await dashboard.open();
listen();

import { html } from '/lit-html/lit-html.js';

/** What became so far of a scoring that is newer than the one shown. */
export function newerScoring({ status, step, reason }) {
  return html`a newer scoring:
    <span class="state ${status}">${status}</span>
    ${[step && `at step ${step}`, reason].filter(Boolean).join(': ')}`;
}

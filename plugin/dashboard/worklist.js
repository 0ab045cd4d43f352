/** SOP class of the heatmaps: Secondary Capture. */
const secondaryCapture = '1.2.840.10008.5.1.4.1.1.7';
/** Heatmaps of one study that the list shows. */
const shownHeatmaps = 6;

const table = document.querySelector('table');
const state = document.querySelector('#state');
/** Events come in bursts; the list is read once for all of them. */
const settleMs = 200;

let reading = false;
let stale = false;

/** Reads the worklist and shows it; once more where something happened meanwhile. */
async function refresh() {
  stale = true;
  if (reading) return;
  reading = true;
  try {
    while (stale) {
      stale = false;
      const answer = await fetch('/api/v1/studies');
      if (answer.status === 401) return location.replace('sign-in.html');
      if (!answer.ok) throw new Error(`answered ${answer.status}`);
      show((await answer.json()).studies);
      await new Promise((resolve) => setTimeout(resolve, settleMs));
    }
  } catch (error) {
    state.textContent = `The node cannot be reached: ${error.message}`;
  } finally {
    reading = false;
  }
}

function show(studies) {
  state.textContent =
    studies.length === 0
      ? 'No studies yet. Send one by STOW-RS to /dicom-web/studies, or run: npm run demo'
      : `${studies.length} ${studies.length === 1 ? 'study' : 'studies'}`;
  table.hidden = studies.length === 0;
  table.tBodies[0].replaceChildren(...studies.map(row));
}

function row({ studyInstanceUID, status, step, reason, bundle, score, results }) {
  const heatmaps = results.filter(({ sopClassUID, url }) => url && sopClassUID === secondaryCapture);
  return element(
    'tr',
    element('td', element('span.percentile', score ? score.percentile.toFixed(1) : '–')),
    element(
      'td',
      score ? element(score.flagged ? 'span.flagged' : 'span', score.flagged ? 'flagged' : 'no') : '',
    ),
    element('td', element('span.uid', studyInstanceUID)),
    element('td', [status, step && `(${step})`, reason].filter(Boolean).join(' ')),
    element('td', element('span.uid', bundle ?? '')),
    element('td', ...heatmaps.slice(0, shownHeatmaps).map(heatmap)),
  );
}

function heatmap({ url }, index) {
  const link = element('a', picture(`${url}/rendered`, `heatmap ${index + 1}`));
  link.href = `${url}/rendered`;
  return link;
}

function picture(source, text) {
  const image = document.createElement('img');
  image.src = source;
  image.alt = text;
  image.loading = 'lazy';
  return image;
}

/** An element named `tag` or `tag.class` that holds text and elements. */
function element(name, ...content) {
  const [tag, className] = name.split('.');
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...content);
  return made;
}

const events = new EventSource('/api/v1/events');
for (const type of ['open', 'study', 'feedback', 'reset']) events.addEventListener(type, refresh);
// It connects again by itself, unless the node answered with something else than events.
events.addEventListener('error', () => {
  state.textContent = 'The node cannot be reached.';
  if (events.readyState === EventSource.CLOSED) setTimeout(() => location.reload(), 5000);
});

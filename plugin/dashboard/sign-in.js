/** The page of this node that sent the reader here. */
function wanted() {
  const to = new URL(new URLSearchParams(location.search).get('to') ?? '/', location.origin);
  return to.origin === location.origin ? to : '/';
}

const form = document.querySelector('form');
const state = document.querySelector('#state');

form.addEventListener('submit', async (event) => {
  event.preventDefault();
  state.textContent = '';
  try {
    const answer = await fetch('/api/v1/session', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ token: form.elements.token.value }),
    });
    if (answer.ok) location.replace(wanted());
    else state.textContent = (await answer.json()).detail;
  } catch (error) {
    state.textContent = `The node cannot be reached: ${error.message}`;
  }
});

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
    if (answer.ok) location.replace('./');
    else state.textContent = (await answer.json()).detail;
  } catch (error) {
    state.textContent = `The node cannot be reached: ${error.message}`;
  }
});

const root = '/api/v1';

/** An answer of the API that says what is wrong. */
export class ApiError extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

/** JSON of the API. Throws ApiError with what the problem says. */
export function read(path) {
  return request(path, {});
}

/** Changes something; returns what the API answers. */
export function change(path, body = {}) {
  return request(path, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
}

/** A picture of the API, decoded. */
export async function readPicture(path) {
  const answer = await reach(path, {});
  return createImageBitmap(await answer.blob(), { colorSpaceConversion: 'none' });
}

/** Goes to where one signs in, and from there back to here. */
export function signIn() {
  const { pathname, search, hash } = location;
  location.replace(`/sign-in.html?${queryOf({ to: pathname + search + hash })}`);
}

async function request(path, init) {
  return (await reach(path, init)).json();
}

async function reach(path, init) {
  const answer = await fetch(root + path, init).catch(() => {
    throw new ApiError(0, 'The node cannot be reached.');
  });
  if (answer.ok) return answer;
  if (answer.status === 401) signIn();
  const problem = await answer.json().catch(() => ({}));
  throw new ApiError(answer.status, problem.detail ?? `The node answered ${answer.status}.`);
}

/** The path of a study in the API. */
export function studyPath({ archive, studyInstanceUID }) {
  return `/studies/${archive}/${studyInstanceUID}`;
}

/** Where OHIF shows a study, if it is installed. */
export function viewerAddress({ archive, studyInstanceUID }) {
  return `/viewer/${archive}?${queryOf({ StudyInstanceUIDs: studyInstanceUID })}`;
}

/** `key=value&…` of what has a value. */
export function queryOf(values) {
  return String(
    new URLSearchParams(Object.entries(values).filter(([, value]) => value !== '' && value != null)),
  );
}

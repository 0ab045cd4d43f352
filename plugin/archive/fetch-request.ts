import { fetch, type Dispatcher, type Response } from 'undici';

/**
 * The part of XMLHttpRequest that dicomweb-client uses, on `fetch`: Node has no XMLHttpRequest, and the client
 * takes an instance for each request.
 */
export class FetchRequest {
  readyState = 0;
  status = 0;
  response: unknown = null;
  responseType = '';
  onreadystatechange: () => void = () => undefined;
  /** Why the request failed with status 0. */
  failure: unknown;
  readonly #dispatcher: Dispatcher;
  readonly #headers: Record<string, string> = {};
  #method = 'GET';
  #url = '';
  #answer: Response | undefined;

  constructor(dispatcher: Dispatcher) {
    this.#dispatcher = dispatcher;
  }

  open(method: string, url: string): void {
    this.#method = method.toUpperCase();
    this.#url = url;
  }

  setRequestHeader(name: string, value: string): void {
    this.#headers[name] = value;
  }

  send(): void {
    void this.#perform().then(() => {
      this.readyState = 4;
      this.onreadystatechange();
    });
  }

  getResponseHeader(name: string): string | null {
    return this.#answer?.headers.get(name) ?? null;
  }

  getAllResponseHeaders(): string {
    return [...(this.#answer?.headers ?? [])].map(([name, value]) => `${name}: ${value}\r\n`).join('');
  }

  async #perform(): Promise<void> {
    try {
      this.#answer = await fetch(this.#url, {
        method: this.#method,
        headers: this.#headers,
        dispatcher: this.#dispatcher,
      });
      const text = await this.#answer.text();
      this.response = this.responseType === 'json' && text !== '' ? JSON.parse(text) : text;
      this.status = this.#answer.status;
    } catch (error) {
      this.status = 0;
      this.failure = error;
    }
  }
}

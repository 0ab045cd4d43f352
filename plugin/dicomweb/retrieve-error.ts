/** A retrieve request that cannot be served as asked: its HTTP status and why (PS3.18 section 10.4.3). */
export class RetrieveError extends Error {
  override name = 'RetrieveError';
  readonly status: 400 | 403 | 404 | 406;

  constructor(status: RetrieveError['status'], message: string) {
    super(message);
    this.status = status;
  }
}

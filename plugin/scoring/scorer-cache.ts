import { bundleID } from '../../inference/bundle/registry.ts';
import { precisionRemark } from '../../inference/bundle/schema.ts';
import { Scorer } from '../../inference/scorer.ts';
import type { ScorerOptions } from '../../inference/scorer.ts';
import type { Logger } from '../log.ts';

/** Keeps the model of the bundle that scores open, for jobs that come one after the other. */
export class ScorerCache {
  readonly #root: string;
  readonly #options: ScorerOptions;
  readonly #log: Logger;
  #open: Scorer | undefined;

  constructor(root: string, options: ScorerOptions, log: Logger) {
    this.#root = root;
    this.#options = options;
    this.#log = log;
  }

  /** The scorer of a bundle, named by ID or name; opened again if the bundle changed or its thread ended. */
  async get(reference: string): Promise<Scorer> {
    const id = await bundleID(this.#root, reference);
    if (this.#open?.bundle.id !== id || this.#open.ended) {
      await this.close();
      this.#open = await Scorer.open(this.#root, id, this.#options);
      const remark = precisionRemark(this.#open.bundle, this.#open.precision);
      if (remark !== undefined) this.#log.warn({ bundle: id }, remark);
    }
    return this.#open;
  }

  /** Closes the open scorer. */
  async close(): Promise<void> {
    await this.#open?.close();
    this.#open = undefined;
  }
}

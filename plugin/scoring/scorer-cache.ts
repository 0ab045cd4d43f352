import { bundleID } from '../../inference/bundle/registry.ts';
import { Scorer } from '../../inference/scorer.ts';

/** Keeps the model of the bundle that scores open, and opens another when the bundle changes. */
export class ScorerCache {
  readonly #root: string;
  readonly #batchSize: number;
  #open: { id: string; scorer: Promise<Scorer> } | undefined;

  constructor(root: string, batchSize: number) {
    this.#root = root;
    this.#batchSize = batchSize;
  }

  /** The scorer of a bundle, named by ID or name. */
  async get(reference: string): Promise<Scorer> {
    const id = await bundleID(this.#root, reference);
    if (this.#open?.id !== id) {
      const before = this.#open;
      this.#open = { id, scorer: Scorer.open(this.#root, id, { batchSize: this.#batchSize }) };
      await (await before?.scorer.catch(() => undefined))?.close();
    }
    const opening = this.#open;
    try {
      return await opening.scorer;
    } catch (error) {
      if (this.#open === opening) this.#open = undefined;
      throw error;
    }
  }

  /** Closes the open scorer. */
  async close(): Promise<void> {
    await (await this.#open?.scorer.catch(() => undefined))?.close();
    this.#open = undefined;
  }
}

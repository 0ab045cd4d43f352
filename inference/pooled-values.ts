/** Bits of a float32 that decide where a value is counted: sign, exponent and 13 bits of the mantissa. */
const KEY_BITS = 22;

/**
 * Quantiles of any number of float32 values in 48 MB. Values that agree in sign, exponent and the first 13 bits of
 * the mantissa are counted together, as the largest of them: a quantile is a value that was added, never smaller
 * than the exact one and, relatively, larger by less than 2⁻¹³.
 */
export class PooledValues {
  readonly #counts = new Float64Array(2 ** KEY_BITS);
  readonly #largest = new Float32Array(2 ** KEY_BITS);
  #total = 0;
  #smallest = Infinity;

  add(values: Float32Array): void {
    const bits = new Int32Array(values.buffer, values.byteOffset, values.length);
    for (let i = 0; i < values.length; i++) {
      // Bits of floats in the order of the floats: negative ones run backwards.
      const ordered = bits[i] ^ ((bits[i] >> 31) & 0x7fffffff) ^ 0x80000000;
      const key = ordered >>> (32 - KEY_BITS);
      const value = values[i];
      if (this.#counts[key] === 0 || value > this.#largest[key]) this.#largest[key] = value;
      if (value < this.#smallest) this.#smallest = value;
      this.#counts[key] += 1;
    }
    this.#total += values.length;
  }

  /** `count` quantiles at equal steps from the smallest to the largest value, upper ones between two values. */
  quantiles(count: number): number[] {
    if (this.#total === 0) throw new Error('no values have no quantiles');
    let [key, below] = [0, 0];
    return Array.from({ length: count }, (_, i) => {
      if (i === 0) return this.#smallest;
      const rank = Math.ceil((i / (count - 1)) * (this.#total - 1));
      while (below + this.#counts[key] <= rank) below += this.#counts[key++];
      return this.#largest[key];
    });
  }
}

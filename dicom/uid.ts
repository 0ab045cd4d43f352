import { createHash } from 'node:crypto';

/** Whether `value` is a well-formed UID: digits and dots, no leading zeros, 64 characters at most (PS3.5 9.1). */
export function isUID(value: string): boolean {
  return value.length <= 64 && /^(0|[1-9]\d*)(\.(0|[1-9]\d*))+$/.test(value);
}

/**
 * The UID that stands for a list of strings: the first 128 bits of its SHA-256 as a decimal under `2.25.`
 * (PS3.5 B.2). The list is hashed as JSON, so `['a', 'b']` and `['ab']` differ.
 */
export function uidFrom(parts: readonly string[]): string {
  const digest = createHash('sha256').update(JSON.stringify(parts)).digest('hex');
  return `2.25.${BigInt(`0x${digest.slice(0, 32)}`)}`;
}

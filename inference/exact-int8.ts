import { readFileSync } from 'node:fs';

/**
 * Whether this processor sums products of bytes exactly. Those of x86 without VNNI add two of them in 16 bits, where
 * sums of weights and activations that use their whole range saturate. Where it cannot be told: no.
 */
export function exactInt8(): boolean {
  if (process.arch === 'arm64') return true;
  try {
    return /\bavx(512)?_vnni\b/.test(readFileSync('/proc/cpuinfo', 'utf8'));
  } catch {
    return false;
  }
}

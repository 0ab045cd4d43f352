import { InvalidArgumentError } from 'commander';

/** An option's value as a whole number of at least 1. */
export function wholeNumber(text: string): number {
  if (!/^[1-9]\d{0,5}$/.test(text)) throw new InvalidArgumentError('not a whole number from 1');
  return Number(text);
}

import { InvalidArgumentError } from 'commander';
import { nameSchema } from '../../inference/bundle/schema.ts';

/** An option's value as a whole number of at least 1. */
export function wholeNumber(text: string): number {
  if (!/^[1-9]\d{0,5}$/.test(text)) throw new InvalidArgumentError('not a whole number from 1');
  return Number(text);
}

/** An option's value as the name of a profile. */
export function profileName(text: string): string {
  if (!nameSchema.safeParse(text).success) {
    throw new InvalidArgumentError('lower-case letters, digits and hyphens only');
  }
  return text;
}

/** An option's value as a number between 0 and 1. */
export function fraction(text: string): number {
  const value = Number(text);
  if (!(value > 0 && value < 1)) throw new InvalidArgumentError('not a number between 0 and 1');
  return value;
}

/** An option's value as a regular expression. */
export function regularExpression(text: string): RegExp {
  try {
    return new RegExp(text, 'u');
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
}

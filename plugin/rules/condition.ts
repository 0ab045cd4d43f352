import { z } from 'zod';

const scalar = z.union([z.string().min(1), z.number()]);
const oneOrMore = z.union([scalar, z.array(scalar).min(1)]);
const limit = z.union([z.number(), z.string().regex(/^\d{4}-\d\d-\d\d$|^\d{8}$/, 'a number or a date')]);

/**
 * What an attribute must be: a value, one of several, or what the keys say, all of which must hold. Text is compared
 * without regard to case; `*` stands for any text, `?` for one character.
 */
export const conditionSchema = z.union([
  oneOrMore,
  z
    .strictObject({
      is: oneOrMore.optional(),
      not: oneOrMore.optional(),
      /** A regular expression (of JavaScript, without regard to case) that is found in the value. */
      matches: z.string().min(1).refine(isRegExp, 'not a regular expression').optional(),
      /** Smallest and largest: numbers, ages in years, or dates. */
      from: limit.optional(),
      to: limit.optional(),
      present: z.boolean().optional(),
    })
    .refine((keys) => Object.keys(keys).length > 0, 'give one of is, not, matches, from, to, present'),
]);

export type Condition = z.infer<typeof conditionSchema>;
type Scalar = z.infer<typeof scalar>;

/**
 * Whether a condition holds for an attribute of these values. Of several values one is enough, but none may be what
 * it must not be. An attribute without a value fulfils `not` and `present: false` only.
 */
export function holds(condition: Condition, values: readonly Scalar[]): boolean {
  if (typeof condition !== 'object' || Array.isArray(condition)) return values.some(equals(condition));
  const { is, not, matches, from, to, present } = condition;
  const pattern = matches === undefined ? undefined : new RegExp(matches, 'iu');
  return (
    (is === undefined || values.some(equals(is))) &&
    (not === undefined || !values.some(equals(not))) &&
    (pattern === undefined || values.some((value) => pattern.test(String(value)))) &&
    ((from === undefined && to === undefined) || values.some(isWithin(from, to))) &&
    (present === undefined || present === values.length > 0)
  );
}

function equals(wanted: Scalar | readonly Scalar[]): (value: Scalar) => boolean {
  const tests = [wanted].flat().map((one) => {
    if (typeof one === 'number') return (value: Scalar) => Number(value) === one;
    const escaped = one
      .replace(/[.+^${}()|[\]\\/-]/g, '\\$&')
      .replaceAll('*', '[^]*')
      .replaceAll('?', '[^]');
    const pattern = new RegExp(`^${escaped}$`, 'iu');
    return (value: Scalar) => pattern.test(String(value));
  });
  return (value) => tests.some((test) => test(value));
}

function isWithin(from: Scalar = -Infinity, to: Scalar = Infinity): (value: Scalar) => boolean {
  const [low, high] = [numberOf(from), numberOf(to)];
  return (value) => {
    const number = numberOf(value);
    return number >= low && number <= high;
  };
}

/** Dates become numbers of eight digits; what is no number is within no limits. */
function numberOf(value: Scalar): number {
  return Number(typeof value === 'string' ? value.replace(/^(\d{4})[-.](\d\d)[-.](\d\d)$/, '$1$2$3') : value);
}

function isRegExp(text: string): boolean {
  try {
    return new RegExp(text, 'iu') instanceof RegExp;
  } catch {
    return false;
  }
}

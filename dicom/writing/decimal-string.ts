/**
 * The shortest decimal of at most 16 characters (VR DS, PS3.5 6.2) that is nearest to `value`; its relative
 * error is below 1e-8. Throws where `value` is not finite: DS has no infinity and no NaN.
 */
export function decimalString(value: number): string {
  if (!Number.isFinite(value)) throw new RangeError(`DS cannot hold ${value}`);
  let digits = 17;
  let text: string;
  do text = String(Number(value.toPrecision(digits--)));
  while (text.length > 16);
  return text;
}

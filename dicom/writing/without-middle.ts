/**
 * `text`, or its beginning and its last word with `..` between, in at most `length` characters. The last word
 * stays whole: an "(UNTRAINED)" must not end as "TRAINED)". Where it is too long, there is no short form.
 */
export function withoutMiddle(text: string, length: number): string | undefined {
  if (text.length <= length) return text;
  const lastWord = text.slice(text.lastIndexOf(' ') + 1);
  const room = length - lastWord.length - 2;
  return room < 0 ? undefined : `${text.slice(0, room)}..${lastWord}`;
}

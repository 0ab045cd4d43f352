/** `text`, or its beginning and end with `..` between, in at most `length` characters. */
export function withoutMiddle(text: string, length: number): string {
  if (text.length <= length) return text;
  const kept = Math.max(0, length - 2);
  return text.slice(0, Math.ceil(kept / 2)) + '..' + text.slice(text.length - Math.floor(kept / 2));
}

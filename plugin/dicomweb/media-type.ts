import { parse } from 'content-type';

/** A media type with its parameters, names in lower case (RFC 9110 section 8.3.1). */
export interface MediaType {
  type: string;
  parameters: Record<string, string>;
}

/** A `Content-Type` or one element of `Accept`; undefined if it is none. */
export function parseMediaType(text: string | undefined): MediaType | undefined {
  if (text === undefined) return undefined;
  try {
    const { type, parameters } = parse(text);
    return { type: type.toLowerCase(), parameters: { ...parameters } };
  } catch {
    return undefined;
  }
}

/** The media types that a request accepts, the most wanted first (RFC 9110 section 12.5.1). */
export function acceptedMediaTypes(accept: string | undefined): MediaType[] {
  const elements = (accept ?? '*/*').match(/(?:[^,"]|"(?:\\.|[^"\\])*")+/g) ?? [];
  return elements
    .flatMap((element) => parseMediaType(element.trim()) ?? [])
    .map((mediaType, index) => ({ mediaType, index, quality: Number(mediaType.parameters['q'] ?? 1) }))
    .filter(({ quality }) => quality > 0)
    .sort((a, b) => b.quality - a.quality || a.index - b.index)
    .map(({ mediaType }) => mediaType);
}

/** Whether `accepted` covers `offered`: the type itself, or a range such as `image/*`. */
export function covers(accepted: MediaType, offered: string): boolean {
  if (accepted.type === '*/*' || accepted.type === offered) return true;
  return accepted.type.endsWith('/*') && offered.startsWith(accepted.type.slice(0, -1));
}

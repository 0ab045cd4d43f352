import { acceptedMediaTypes, parseMediaType } from './media-type.ts';

/** One way in which a client takes a resource. */
export interface Acceptable {
  /** Of the payload, or of each part of a multipart payload; may be a range such as `image/*`. */
  type: string;
  /** As asked for: a UID, or `*` for the one that it is stored in. */
  transferSyntax?: string;
  multipart: boolean;
}

/**
 * What a client accepts, the most wanted first (PS3.18 section 8.7.5). `*` + `/*` leaves the choice to the
 * server, which is multipart wherever there may be several parts.
 */
export function acceptable(accept: string | undefined): Acceptable[] {
  return acceptedMediaTypes(accept).map(({ type, parameters }) => {
    const transferSyntax = parameters['transfer-syntax'];
    const multipart = type === 'multipart/related' || type === 'multipart/*' || type === '*/*';
    return {
      type: multipart ? (parseMediaType(parameters['type'] ?? '*/*')?.type ?? '*/*') : type,
      multipart,
      ...(transferSyntax !== undefined && { transferSyntax }),
    };
  });
}

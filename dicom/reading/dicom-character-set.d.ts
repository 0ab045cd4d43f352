declare module 'dicom-character-set' {
  export const characterSets: Record<string, unknown>;
  /** @throws Error for a character set or an escape sequence that it does not know */
  export function convertBytes(
    specificCharacterSet: string | undefined,
    bytes: Uint8Array,
    options?: { vr?: string },
  ): string;
}

import { characterSets, convertBytes } from 'dicom-character-set';

/** Text of a VR that Specific Character Set does not touch. */
export const ascii = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');

/** What `specificCharacterSet` returns for a set that PS3.3 does not define. */
const unknownSet = 'unknown';

/**
 * A Specific Character Set (0008,0005) in the spelling of PS3.3 C.12.1.1.2; `ISO-IR 100`, `ISO_IR_100` and
 * the like are seen in the field and mean one thing.
 */
export function specificCharacterSet(values: readonly string[]): string {
  const names = values.map((value) =>
    value
      .toUpperCase()
      .replace(/^ISO[ _-]IR[ _-]?(\d+)$/, 'ISO_IR $1')
      .replace(/^ISO[ _-]2022[ _-]IR[ _-]?(\d+)$/, 'ISO 2022 IR $1'),
  );
  if (names.some((name) => name !== '' && !Object.hasOwn(characterSets, name))) return unknownSet;
  // ASCII is to be had by its escape sequence beside any other set (PS3.5 6.1.2.5.3).
  if (names.length > 1 || names[0]?.startsWith('ISO 2022')) names.push('ISO 2022 IR 6');
  return names.join('\\');
}

/**
 * Text in the data set's character sets, including ISO 2022 escapes (PS3.5 6.1.2.5).
 *
 * @param set as `specificCharacterSet` returns it
 * @throws Error for an escape sequence of a set that was not declared, and for more than ASCII in an unknown set:
 *   a name must not be guessed, results carry it on
 */
export function decodeText(bytes: Uint8Array, set: string, vr: string): string {
  // Plain ASCII means the same in all sets but Japanese Romaji, and is nearly all text there is.
  if (!set.includes('IR 13') && bytes.every((byte) => byte < 0x80 && byte !== 0x1b)) return ascii(bytes);
  // Without a declared set there is ASCII only (PS3.5 6.1.2.1); writers that forget to declare mostly mean Latin-1.
  if (set === '' && !bytes.includes(0x1b)) return ascii(bytes);
  if (set === unknownSet) throw new Error('text in an unknown Specific Character Set');
  return convertBytes(set === '' ? undefined : set, new Uint8Array(bytes), { vr });
}

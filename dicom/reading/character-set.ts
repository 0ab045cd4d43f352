import { characterSets, convertBytes } from 'dicom-character-set';

/** Text of a VR that Specific Character Set does not touch. */
export const ascii = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');

/**
 * A Specific Character Set (0008,0005) in the spelling of PS3.3 C.12.1.1.2; `ISO-IR 100`, `ISO_IR_100` and
 * the like are seen in the field and mean one thing.
 *
 * @throws Error for a set that PS3.3 does not define: a name must not be guessed, results carry it on
 */
export function specificCharacterSet(values: readonly string[]): string {
  const names = values.map((value) => {
    const name = value
      .toUpperCase()
      .replace(/^ISO[ _-]IR[ _-]?(\d+)$/, 'ISO_IR $1')
      .replace(/^ISO[ _-]2022[ _-]IR[ _-]?(\d+)$/, 'ISO 2022 IR $1');
    if (name !== '' && !Object.hasOwn(characterSets, name)) throw new Error('unknown Specific Character Set');
    return name;
  });
  // ASCII is to be had by its escape sequence beside any other set (PS3.5 6.1.2.5.3).
  if (names.length > 1 || names[0]?.startsWith('ISO 2022')) names.push('ISO 2022 IR 6');
  return names.join('\\');
}

/**
 * Text in the data set's character sets, including ISO 2022 escapes (PS3.5 6.1.2.5).
 *
 * @param set as `specificCharacterSet` returns it
 * @throws Error for an escape sequence of a set that was not declared
 */
export function decodeText(bytes: Uint8Array, set: string, vr: string): string {
  // Plain ASCII means the same in all sets but Japanese Romaji, and is nearly all text there is.
  if (!set.includes('IR 13') && bytes.every((byte) => byte < 0x80 && byte !== 0x1b)) return ascii(bytes);
  return convertBytes(set === '' ? undefined : set, new Uint8Array(bytes), { vr });
}

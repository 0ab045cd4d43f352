/**
 * Says on stderr that no two pictures are of one patient: what is divided by patient, or counts patients, is wrong
 * where they are.
 *
 * @param option which would tell whose a picture is
 */
export function tellOwnPatients(folder: string, pictures: number, option: string): void {
  console.error(
    `${folder}: each of ${pictures} pictures counts as a patient of its own; ${option} tells what one is`,
  );
}

/** Where an image plane lies in the patient (PS3.3 C.7.6.2). Lengths are in millimetres. */
export interface PlaneGeometry {
  frameOfReferenceUID: string;
  /** Centre of the first pixel: x, y, z. */
  imagePositionPatient: [number, number, number];
  /** Direction cosines of the row (increasing column), then of the column (increasing row). */
  imageOrientationPatient: [number, number, number, number, number, number];
  /** Between rows, then between columns. */
  pixelSpacing: [number, number];
}

/** One frame as a reader sees it: 8-bit grey after modality LUT, VOI window and photometric interpretation. */
export interface Slice {
  sopInstanceUID: string;
  /** Counted from 1, as DICOM counts frames. */
  frame: number;
  rows: number;
  columns: number;
  /** rows × columns, row-major, 0 = black. */
  pixels: Uint8Array;
  /** Absent where the object carries none (CR, DX, Secondary Capture). */
  geometry?: PlaneGeometry;
}

/**
 * A 2×3 affine `[a, b, c, d, e, f]`: x' = a·x + b·y + c, y' = d·x + e·y + f, with x along columns and y along
 * rows. Coordinates are continuous: pixel (row r, column c) covers [c, c+1) × [r, r+1).
 */
export type Affine = readonly [number, number, number, number, number, number];

/** Characters that no value of a string VR may hold: the separator of values, and controls (PS3.5 6.1.3, 6.2). */
// eslint-disable-next-line no-control-regex
const NOT_IN_A_VALUE = /[\\\u0000-\u001f\u007f]/;
// eslint-disable-next-line no-control-regex
const NOT_IN_A_TEXT = /[\u0000-\u0008\u000b\u000e-\u001a\u001c-\u001f\u007f]/;

const TIME = '([01]\\d|2[0-3])([0-5]\\d([0-5]\\d(\\.\\d{1,6})?)?)?';
const DATE = '\\d{4}(0[1-9]|1[0-2])(0[1-9]|[12]\\d|3[01])';

/** Form of a value, by VR (PS3.5 table 6.2-1). */
const FORMS: Record<string, RegExp> = {
  AE: /^(?!\s*$)[^\\]{1,16}$/,
  AS: /^\d{3}[DWMY]$/,
  CS: /^[A-Z0-9_ ]{1,16}$/,
  DA: new RegExp(`^${DATE}$`),
  DS: /^(?=.{1,16}$) *[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)? *$/,
  DT: new RegExp(`^\\d{4}((0[1-9]|1[0-2])((0[1-9]|[12]\\d|3[01])(${TIME})?)?)?([+-]\\d{4})?$`),
  IS: /^(?=.{1,12}$) *[+-]?\d+ *$/,
  TM: new RegExp(`^${TIME} *$`),
  UI: /^(?=.{1,64}$)(0|[1-9]\d*)(\.(0|[1-9]\d*))+$/,
};

/** Largest number of characters of a text value, by VR (PS3.5 table 6.2-1). */
export const TEXT_LENGTHS: Record<string, number> = { LO: 64, LT: 10240, SH: 16, ST: 1024 };

/**
 * Whether `text` has the form that `vr` asks for. Lengths of texts (`TEXT_LENGTHS`) are not looked at: a
 * patient ID of 70 characters is against the standard, but it is the one under which the archive keeps the
 * study.
 */
export function hasForm(vr: string, text: string): boolean {
  if (vr in FORMS) return FORMS[vr].test(text);
  return !(['LT', 'ST', 'UT'].includes(vr) ? NOT_IN_A_TEXT : NOT_IN_A_VALUE).test(text);
}

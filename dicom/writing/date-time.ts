const UTC = ['+0000', '+', '00', '00'];

/**
 * Date (DA), time (TM) and date-time (DT) of an instant. DA and TM are those of the zone that
 * `timezoneOffsetFromUTC` names (`&ZZXX`, PS3.3 C.12.1), else (or where it is malformed) of UTC; DT carries its offset.
 */
export function dateTime(
  instant: Date,
  timezoneOffsetFromUTC = UTC[0],
): { DA: string; TM: string; DT: string } {
  const [zone, sign, hours, minutes] = /^([+-])(\d\d)(\d\d)$/.exec(timezoneOffsetFromUTC) ?? UTC;
  const offset = (sign === '-' ? -1 : 1) * (Number(hours) * 60 + Number(minutes));
  const local = new Date(instant.getTime() + offset * 60_000).toISOString();
  const DA = local.slice(0, 10).replaceAll('-', '');
  const TM = local.slice(11, 23).replaceAll(':', '');
  return { DA, TM, DT: `${DA}${TM}${zone}` };
}

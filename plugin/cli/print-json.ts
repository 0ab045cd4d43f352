/** One JSON line on stdout. */
export function printJson(line: object): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

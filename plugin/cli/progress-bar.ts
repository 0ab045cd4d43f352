/** Shows on a terminal how far something is, on one line that is written over; elsewhere nothing. Sizes in bytes. */
export function progressBar(
  name: string,
  stream: Pick<NodeJS.WriteStream, 'isTTY' | 'write'> = process.stderr,
): (done: number, total: number) => void {
  if (!stream.isTTY) return () => undefined;
  let shown = '';
  return (done, total) => {
    const share = Math.floor((100 * done) / total);
    const bar = '█'.repeat(Math.floor(share / 4)).padEnd(25, '░');
    const line = `${name} ${bar} ${share} % of ${(total / 1e6).toFixed(0)} MB`;
    if (line === shown) return;
    shown = line;
    stream.write(`\r${line}${done >= total ? '\n' : ''}`);
  };
}

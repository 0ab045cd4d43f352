/**
 * The results of `work` for each item, in order; the next `count` are worked on while one is used.
 *
 * @throws what `work` rejects with, when its turn comes
 */
export async function* ahead<Item, Result>(
  items: readonly Item[],
  count: number,
  work: (item: Item) => Promise<Result>,
): AsyncGenerator<Result> {
  const begun: Promise<Result>[] = [];
  for (let index = 0; index < items.length; index++) {
    for (let next = index + begun.length; next < items.length && begun.length <= count; next++) {
      const result = work(items[next]);
      result.catch(() => undefined); // told when its turn comes, if it comes
      begun.push(result);
    }
    yield await begun.shift()!;
  }
}

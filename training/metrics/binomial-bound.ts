const { exp, log, log1p } = Math;

/** Halvings of [0, 1]: more than a double resolves. */
const HALVINGS = 60;

/**
 * The upper end of the one-sided Clopper–Pearson interval (Biometrika 26, 1934) of a rate, of which `events` of
 * `trials` are known: with probability `confidence` at least, the rate is not above it.
 */
export function upperBound(events: number, trials: number, confidence = 0.95): number {
  if (!(events >= 0 && events <= trials && trials > 0)) {
    throw new Error(`${events} events of ${trials} trials have no rate`);
  }
  if (events === trials) return 1;
  let [low, high] = [0, 1];
  for (let i = 0; i < HALVINGS; i++) {
    const middle = (low + high) / 2;
    if (atMost(events, trials, middle) > 1 - confidence) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

/** The lower end, likewise. */
export function lowerBound(events: number, trials: number, confidence = 0.95): number {
  return 1 - upperBound(trials - events, trials, confidence);
}

/** The fewest trials of which none need be an event for `upperBound` to be `rate` or less. */
export function fewestTrials(rate: number, confidence = 0.95): number {
  return Math.ceil(log(1 - confidence) / log1p(-rate));
}

/** The probability of `events` or fewer in `trials` trials of probability `rate`, which is neither 0 nor 1. */
function atMost(events: number, trials: number, rate: number): number {
  const odds = log(rate) - log1p(-rate);
  let term = trials * log1p(-rate);
  let sum = exp(term);
  for (let k = 1; k <= events; k++) {
    term += log((trials - k + 1) / k) + odds;
    sum += exp(term);
  }
  return sum;
}

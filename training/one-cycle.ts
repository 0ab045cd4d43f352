const { cos, PI } = Math;

/** Rate and first-moment decay of one step. */
export interface StepSettings {
  readonly rate: number;
  readonly beta1: number;
}

export interface Schedule {
  readonly maximumRate: number;
  /** Optimiser steps in all. */
  readonly totalSteps: number;
  /** Share of the steps in which the rate rises. */
  readonly rise?: number;
}

/**
 * One-cycle schedule with cosine phases (Smith and Topin 2018; arithmetic of PyTorch's OneCycleLR): the rate goes
 * from max/25 up to max and down to max/250 000, Adam's β₁ from 0.95 down to 0.85 and back. `step` counts
 * from 0. Throws if it is not one of the schedule's.
 */
export function oneCycle({ maximumRate, totalSteps, rise = 0.15 }: Schedule, step: number): StepSettings {
  if (!Number.isInteger(step) || step < 0 || step >= totalSteps) {
    throw new Error(`step ${step} is not one of the schedule's ${totalSteps}`);
  }
  const initialRate = maximumRate / 25;
  const top = rise * totalSteps - 1;
  const last = totalSteps - 1;
  if (step <= top) {
    const share = step / top;
    return { rate: anneal(initialRate, maximumRate, share), beta1: anneal(0.95, 0.85, share) };
  }
  const share = (step - top) / (last - top);
  return { rate: anneal(maximumRate, initialRate / 1e4, share), beta1: anneal(0.85, 0.95, share) };
}

/** From `start` (share 0) to `end` (share 1) along half a cosine. */
function anneal(start: number, end: number, share: number): number {
  return end + ((start - end) / 2) * (1 + cos(PI * share));
}

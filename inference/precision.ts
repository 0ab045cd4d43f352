/** What the model's matrix products are computed in. */
export const precisions = ['float32', 'float16', 'int8'] as const;

export type Precision = (typeof precisions)[number];

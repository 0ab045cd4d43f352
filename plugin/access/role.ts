/**
 * What someone may do. `reader`: look at studies, scores and the node's state, and judge studies. `sender`: store
 * studies and hint that some have arrived. `admin`: everything.
 */
export const roles = ['reader', 'sender', 'admin'] as const;

export type Role = (typeof roles)[number];

/** Who sends a request. */
export interface Identity {
  /** The name of a token, or the subject that an identity provider names. */
  name: string;
  roles: readonly Role[];
}

/** Whether someone may do what needs `role`. */
export function permits(identity: Identity, role: Role): boolean {
  return identity.roles.includes(role) || identity.roles.includes('admin');
}

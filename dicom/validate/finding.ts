/** What is wrong with an object, and where. */
export interface Finding {
  /** Who found it. */
  source: 'dciodvfy' | 'template';
  severity: 'error' | 'warning';
  /** In the content tree, as positions from the root (`1.5.2`, PS3.3 C.17.3.2.5); empty for the object as such. */
  position: string;
  message: string;
}

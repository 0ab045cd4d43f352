declare module 'dcmjs/dictionary' {
  /** By tag, as `(0008,0005)`, as `(6000-60FF,0010)` or with a private creator. */
  const dictionary: Record<string, { tag: string; vr: string; name: string; vm: string; version: string }>;
  export default dictionary;
}

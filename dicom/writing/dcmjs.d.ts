/** The part of dcmjs that is used here; the package brings no types. */
declare module 'dcmjs' {
  interface Element {
    vr: string;
    Value?: unknown[];
  }
  interface DictionaryEntry {
    /** As `(0008,0005)`. */
    tag: string;
    vr: string;
    vm: string;
    name: string;
  }
  interface DicomDict {
    dict: Record<string, Element>;
    write(options?: { allowInvalidVRLength: boolean }): ArrayBuffer;
  }
  const dcmjs: {
    data: {
      DicomDict: new (meta: Record<string, Element>) => DicomDict;
      DicomMetaDictionary: {
        /** By keyword. */
        nameMap: Record<string, DictionaryEntry | undefined>;
        /** By tag, as `(0008,0005)`. */
        dictionary: Record<string, DictionaryEntry | undefined>;
      };
    };
  };
  export default dcmjs;
}

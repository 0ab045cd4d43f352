import { closeSync, fsyncSync, openSync } from 'node:fs';
import { NodeFS } from '@electric-sql/pglite/nodefs';

/** The parts of Emscripten's NODEFS that are used here; an open directory has no descriptor. */
interface Emscripten {
  NODEFS: {
    stream_ops: { fsync?: (stream: { nfd?: number; node: object }) => number };
    realPath(node: object): string;
  };
}

/**
 * PGlite's files in a folder, with the `fsync` that Emscripten's NODEFS lacks: without it PostgreSQL would believe
 * that a commit is on the disk when it is in the page cache only, and lose it in a power cut.
 */
export class SyncedNodeFS extends NodeFS {
  override async init(...[pglite, options]: Parameters<NodeFS['init']>): ReturnType<NodeFS['init']> {
    const { emscriptenOpts } = await super.init(pglite, options);
    const addSync = ({ NODEFS }: Emscripten) => {
      NODEFS.stream_ops.fsync = ({ nfd, node }) => {
        const descriptor = nfd ?? openSync(NODEFS.realPath(node), 'r');
        fsyncSync(descriptor);
        if (nfd === undefined) closeSync(descriptor);
        return 0;
      };
    };
    return {
      emscriptenOpts: { ...emscriptenOpts, preRun: [...(emscriptenOpts.preRun ?? []), addSync] },
    };
  }
}

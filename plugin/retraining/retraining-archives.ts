import { createToken, revokeToken, tokenFolder } from '../access/token.ts';
import type { Archive } from '../archive/archive.ts';
import { openArchives } from '../archive/archives.ts';
import { authorization, DicomWebArchive } from '../archive/dicomweb-archive.ts';
import { dicomWebPath } from '../dicomweb/router.ts';
import { ownNode } from '../http/own-node.ts';
import type { Settings } from '../settings.ts';
import { localArchiveName } from '../store/instance-store.ts';

/** A node that says nothing for this long has failed. */
const nodeTimeoutMs = 60_000;
/** A run that was killed leaves a token behind that is valid for this long. */
const tokenMs = 7 * 24 * 3600_000;

/**
 * The archives that studies to train with may come from. The node's own store is read by its DICOMweb, as any other:
 * a run lasts for hours, in another process.
 */
export async function retrainingArchives(settings: Settings): Promise<{
  sources: ReadonlyMap<string, Archive>;
  close(): Promise<void>;
}> {
  const tokens = tokenFolder(settings.data);
  const { token, entry } = await createToken(tokens, {
    name: 'retraining',
    roles: ['reader'],
    expiresAt: new Date(Date.now() + tokenMs),
  });
  const { url, dispatcher } = ownNode(settings);
  await dispatcher.close();
  const local = new DicomWebArchive({
    name: localArchiveName,
    url: `${url}${dicomWebPath}`,
    headers: authorization({ token }),
    timeoutMs: nodeTimeoutMs,
  });
  const { sources, destinations } = openArchives(settings, local);
  return {
    sources,
    async close() {
      for (const archive of destinations.values()) await archive.close();
      await revokeToken(tokens, entry.id);
    },
  };
}

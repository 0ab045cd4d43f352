import type { RequestHandler } from 'express';
import { identityOf } from '../access/guard.ts';
import type { Archive } from '../archive/archive.ts';
import { dicomWebPath } from '../dicomweb/router.ts';
import type { Settings } from '../settings.ts';
import { localArchiveName } from '../store/instance-store.ts';
import { relayedRoot } from './archive-relay.ts';
import { hasViewer } from './install.ts';

/** What the viewer is told about. */
export interface ViewerContext {
  settings: Pick<Settings, 'data' | 'viewer'>;
  archives: ReadonlyMap<string, Archive>;
}

/** Where browsers find the DICOMweb service of each archive that has one, by its name: the node's own store first. */
export function viewerRoots(
  archives: ReadonlyMap<string, Archive>,
  roots: Settings['viewer']['roots'],
): Map<string, string> {
  const relayed = [...archives.values()].filter((archive) => 'get' in archive);
  return new Map([
    [localArchiveName, dicomWebPath],
    ...relayed.map(({ name }): [string, string] => [
      name,
      roots[name]?.replace(/\/$/, '') ?? relayedRoot(name),
    ]),
  ]);
}

/** OHIF's settings: a data source of the archive's name for each archive. Who is not signed in is sent to do so. */
export function viewerConfiguration({ settings, archives }: ViewerContext): RequestHandler {
  return (_request, response, next) => {
    if (!hasViewer(settings.data)) {
      next();
      return;
    }
    response
      .type('js')
      .set('Cache-Control', 'no-store')
      .send(
        identityOf(response)
          ? `window.config = ${JSON.stringify(configurationOf(viewerRoots(archives, settings.viewer.roots)))};`
          : "location.replace('/sign-in.html?to=' + encodeURIComponent(location.pathname + location.search));",
      );
  };
}

/** The keys are those of OHIF's configuration and of its data sources. */
function configurationOf(roots: ReadonlyMap<string, string>) {
  return {
    name: 'QFAE',
    routerBasename: '/',
    extensions: [],
    modes: [],
    showStudyList: false, // the worklist is the node's own
    showLoadingIndicator: true,
    showWarningMessageForCrossOrigin: false,
    maxNumberOfWebWorkers: 2,
    defaultDataSourceName: localArchiveName,
    dataSources: [...roots].map(([name, root]) => ({
      namespace: '@ohif/extension-default.dataSourcesModule.dicomweb',
      sourceName: name,
      configuration: {
        friendlyName: name === localArchiveName ? 'QFAE node' : name,
        name,
        wadoUriRoot: root,
        qidoRoot: root,
        wadoRoot: root,
        qidoSupportsIncludeField: true,
        supportsReject: false,
        supportsFuzzyMatching: false,
        supportsWildcard: true,
        imageRendering: 'wadors',
        thumbnailRendering: 'wadors',
        enableStudyLazyLoad: true,
        omitQuotationForMultipartRequest: true,
        bulkDataURI: { enabled: true },
      },
    })),
  };
}

import type { Role } from './role.ts';

/** Who may use a route: those with a role, or anyone. */
export type Access = Role | 'anyone';

type Method = 'get' | 'post' | 'delete' | 'options';

/**
 * Every route of the node, with the role that it needs; `get` holds for HEAD too. What does not stand here needs
 * `admin`. The files of the dashboard hold no data and are not in the table.
 */
export const routeRoles: readonly (readonly [method: Method, path: string, access: Access])[] = [
  ['get', '/healthz', 'anyone'],
  ['get', '/readyz', 'anyone'],
  ['get', '/metrics', 'reader'],
  ['post', '/hooks/orthanc', 'sender'],

  ['options', '/dicom-web', 'anyone'],
  ['get', '/dicom-web/*path', 'reader'],
  ['post', '/dicom-web/studies', 'sender'],
  ['post', '/dicom-web/studies/:study', 'sender'],
  ['delete', '/dicom-web/*path', 'admin'],
  ['get', '/archives/:archive/dicom-web/*path', 'reader'],
  ['get', '/app-config.js', 'anyone'],

  ['get', '/api/v1/session', 'anyone'],
  ['post', '/api/v1/session', 'anyone'],
  ['post', '/api/v1/session/end', 'anyone'],
  ['get', '/api/v1/openapi.json', 'anyone'],
  ['get', '/api/v1/node', 'reader'],
  ['post', '/api/v1/sample-study', 'admin'],
  ['get', '/api/v1/studies', 'reader'],
  ['get', '/api/v1/studies/:archive/:study', 'reader'],
  ['get', '/api/v1/studies/:archive/:study/slices/:slice', 'reader'],
  ['get', '/api/v1/studies/:archive/:study/slices/:slice/image', 'reader'],
  ['get', '/api/v1/studies/:archive/:study/slices/:slice/map', 'reader'],
  ['get', '/api/v1/studies/:archive/:study/slices/:slice/reconstruction', 'reader'],
  ['get', '/api/v1/studies/:archive/:study/slices/:slice/heatmap', 'reader'],
  ['get', '/api/v1/studies/:archive/:study/report', 'reader'],
  ['get', '/api/v1/heatmap-style', 'reader'],
  ['post', '/api/v1/studies/:archive/:study/feedback', 'reader'],
  ['get', '/api/v1/feedback', 'reader'],
  ['get', '/api/v1/jobs', 'reader'],
  ['get', '/api/v1/jobs/:job', 'reader'],
  ['post', '/api/v1/jobs/:job/retry', 'admin'],
  ['post', '/api/v1/jobs/:job/cancel', 'admin'],
  ['post', '/api/v1/jobs/:job/priority', 'admin'],
  ['post', '/api/v1/backfill', 'admin'],
  ['post', '/api/v1/rescore', 'admin'],
  ['get', '/api/v1/bundles', 'reader'],
  ['get', '/api/v1/bundles/:bundle', 'reader'],
  ['get', '/api/v1/bundles/:bundle/export', 'reader'],
  ['get', '/api/v1/bundles/:bundle/shadow', 'reader'],
  ['post', '/api/v1/bundles/:bundle/promote', 'admin'],
  ['get', '/api/v1/profiles', 'reader'],
  ['post', '/api/v1/profiles/:profile/rollback', 'admin'],
  ['get', '/api/v1/rules', 'reader'],
  ['get', '/api/v1/rules/test', 'reader'],
  ['get', '/api/v1/database', 'reader'],
  ['post', '/api/v1/database/copy', 'admin'],
  ['get', '/api/v1/drift', 'reader'],
  ['get', '/api/v1/schedules', 'reader'],
  ['get', '/api/v1/retrainings', 'reader'],
  ['post', '/api/v1/schedules/:schedule/run', 'admin'],
  ['post', '/api/v1/schedules/:schedule/pause', 'admin'],
  ['post', '/api/v1/schedules/:schedule/resume', 'admin'],
  ['get', '/api/v1/events', 'reader'],
];

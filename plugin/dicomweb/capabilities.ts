import { escapedXml } from '../../dicom/native-dicom-model.ts';
import { json, xml } from './data-set-form.ts';

/** A resource of the service and what can be done with it. */
interface Resource {
  path: string;
  methods: Partial<Record<'GET' | 'POST' | 'DELETE', Method>>;
}

interface Method {
  /** Transaction of PS3.18 table 10.1-1. */
  name: string;
  /** Media types of the request's payload. */
  consumes?: string[];
  produces?: string[];
}

const dataSets = [json, `multipart/related; type="${xml}"`];
const dicom = ['multipart/related; type="application/dicom"', 'application/dicom'];
const pictures = ['image/jpeg', 'image/png', 'multipart/related; type="image/jpeg"'];
const pixels = ['multipart/related; type="application/octet-stream"', 'application/octet-stream'];
const objects = [...dicom, pixels[0]];
const storing = { name: 'Store', consumes: dicom, produces: [json, xml] };
const searching = { GET: { name: 'Search', produces: dataSets } };

const retrieved = (path: string): Resource[] => [
  { path, methods: { GET: { name: 'Retrieve', produces: objects }, DELETE: { name: 'Delete' } } },
  { path: `${path}/metadata`, methods: { GET: { name: 'Retrieve', produces: dataSets } } },
  { path: `${path}/rendered`, methods: { GET: { name: 'Retrieve', produces: pictures } } },
  { path: `${path}/thumbnail`, methods: { GET: { name: 'Retrieve', produces: pictures.slice(0, 2) } } },
];
const study = '/studies/{study}';
const series = `${study}/series/{series}`;
const instance = `${series}/instances/{instance}`;

/** The resources of the service, as PS3.18 section 8.9 has a server tell them. */
export const capabilities: Resource[] = [
  { path: '/studies', methods: { ...searching, POST: storing } },
  { path: '/series', methods: searching },
  { path: '/instances', methods: searching },
  { path: study, methods: { POST: storing } },
  { path: `${study}/series`, methods: searching },
  { path: `${study}/instances`, methods: searching },
  { path: `${series}/instances`, methods: searching },
  ...[study, series, instance].flatMap(retrieved),
  { path: `${instance}/bulkdata/{path}`, methods: { GET: { name: 'Retrieve', produces: pixels } } },
  { path: `${instance}/frames/{frames}`, methods: { GET: { name: 'Retrieve', produces: pixels } } },
  {
    path: `${instance}/frames/{frames}/rendered`,
    methods: { GET: { name: 'Retrieve', produces: pictures } },
  },
  {
    path: `${instance}/frames/{frames}/thumbnail`,
    methods: { GET: { name: 'Retrieve', produces: pictures } },
  },
];

/** The same as a Web Application Description (W3C member submission of 31 August 2009). */
export function wadl(root: string): string {
  const representations = (types: string[] = []) =>
    types.map((type) => `<representation mediaType="${escapedXml(type)}"/>`).join('');
  const resources = capabilities.map(({ path, methods }) => {
    const described = Object.entries(methods).map(
      ([method, { name, consumes, produces }]) =>
        // An ID may stand once only.
        `<method name="${method}" id="${[name, ...path.match(/\w+/g)!].join('-')}"><request>${representations(consumes)}</request>` +
        `<response>${representations(produces)}</response></method>`,
    );
    return `<resource path="${escapedXml(path.slice(1))}">${described.join('')}</resource>`;
  });
  return (
    '<?xml version="1.0" encoding="UTF-8"?>' +
    `<application xmlns="http://wadl.dev.java.net/2009/02"><resources base="${escapedXml(root)}/">` +
    `${resources.join('')}</resources></application>`
  );
}

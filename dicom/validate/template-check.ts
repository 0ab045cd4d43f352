import type { DicomJson } from '../dicom-json.ts';
import { itemsOf, stringOf, stringsOf } from '../writing/keyword.ts';
import { type Code, DCM } from '../sr/code.ts';
import { isUID } from '../uid.ts';
import { allNodes, type ContentNode, contentTree } from './content-tree.ts';
import type { Finding } from './finding.ts';
import { type Row, type Template, TEMPLATES } from './template.ts';

const REPORTS = /^1\.2\.840\.10008\.5\.1\.4\.1\.1\.88\.(22|33|34|35)$/;
const KEY_OBJECTS = '1.2.840.10008.5.1.4.1.1.88.59';

/** What each value type must hold (PS3.3 C.17.3.2), by keyword. */
const VALUE_OF: Record<string, string> = {
  CODE: 'ConceptCodeSequence',
  COMPOSITE: 'ReferencedSOPSequence',
  CONTAINER: 'ContinuityOfContent',
  DATE: 'Date',
  DATETIME: 'DateTime',
  IMAGE: 'ReferencedSOPSequence',
  NUM: 'MeasuredValueSequence',
  PNAME: 'PersonName',
  SCOORD: 'GraphicData',
  SCOORD3D: 'GraphicData',
  TEXT: 'TextValue',
  TIME: 'Time',
  UIDREF: 'UID',
  WAVEFORM: 'ReferencedSOPSequence',
};

/**
 * Checks a measurement report (PS3.16 TID 1500) or key object document (TID 2010) for what a check against the IOD
 * does not know: template identification, the templates' rows with value type, relationship and multiplicity, what
 * each value type must hold, tracking identifiers, and that each referenced instance is in the evidence exactly
 * once. Of other objects there is nothing to find.
 *
 * Messages name concepts and UIDs, never other values.
 */
export function templateFindings(dataset: DicomJson): Finding[] {
  const sopClass = stringOf(dataset, 'SOPClassUID') ?? '';
  const expected = REPORTS.test(sopClass) ? '1500' : sopClass === KEY_OBJECTS ? '2010' : undefined;
  if (expected === undefined) return [];
  const root = contentTree(dataset);
  const nodes = allNodes(root);
  return [
    ...identification(root, expected),
    ...nodes.flatMap(valueFindings),
    ...nodes.flatMap(rowFindings),
    ...groupFindings(nodes),
    ...(expected === '2010' ? keyObjectFindings(root) : []),
    ...evidenceFindings(dataset, nodes),
  ];
}

const error = (node: Pick<ContentNode, 'position'>, message: string): Finding => ({
  source: 'template',
  severity: 'error',
  position: node.position,
  message,
});
const nameOf = ({ value, scheme, meaning }: Code): string => `${meaning} (${value}, ${scheme})`;
const isConcept = (a: Code | undefined, b: Code): boolean => a?.value === b.value && a.scheme === b.scheme;

function identification(root: ContentNode, expected: string): Finding[] {
  const { root: title } = TEMPLATES[expected];
  return [
    ...(root.template === expected
      ? []
      : [error(root, `template is ${root.template ?? 'not named'}, not ${expected} of DCMR`)]),
    // TID 2010 has a title of its own for each use.
    ...(expected === '2010' || isConcept(root.concept, title)
      ? []
      : [error(root, `title is not ${nameOf(title)}`)]),
  ];
}

/** Value type, concept name and value of an item. */
function valueFindings(node: ContentNode): Finding[] {
  const keyword = VALUE_OF[node.valueType];
  if (keyword === undefined) return [error(node, `value type ${node.valueType || 'is missing'}`)];
  const findings: Finding[] = [];
  // References in an image library or a key object document need no name.
  if (!node.concept && !['IMAGE', 'COMPOSITE', 'WAVEFORM'].includes(node.valueType)) {
    findings.push(error(node, `${node.valueType} without concept name`));
  }
  const sequence = keyword.endsWith('Sequence');
  const count = sequence ? itemsOf(node.item, keyword).length : stringsOf(node.item, keyword).length;
  // A person's name is no plain string, and that it is there is the business of the IOD.
  if (count === 0 && node.valueType !== 'PNAME') findings.push(error(node, `${keyword} is missing or empty`));
  if (sequence && count > 1) findings.push(error(node, `${keyword} has ${count} items, not 1`));
  if (node.valueType === 'UIDREF' && count > 0 && !isUID(stringOf(node.item, 'UID')!)) {
    findings.push(error(node, 'UID is malformed'));
  }
  if (node.valueType === 'NUM') findings.push(...numberFindings(node));
  if (node.valueType === 'SCOORD') findings.push(...regionFindings(node));
  return findings;
}

/** A number has a unit, and is the same as decimal and as floating point. */
function numberFindings(node: ContentNode): Finding[] {
  return itemsOf(node.item, 'MeasuredValueSequence').flatMap((measured) => {
    const findings: Finding[] = [];
    if (itemsOf(measured, 'MeasurementUnitsCodeSequence').length !== 1) {
      findings.push(error(node, 'NUM without exactly one unit'));
    }
    const [decimal, float] = ['NumericValue', 'FloatingPointValue'].map((keyword) =>
      stringOf(measured, keyword),
    );
    if (decimal === undefined) findings.push(error(node, 'NumericValue is missing'));
    else if (
      float !== undefined &&
      Math.abs(Number(decimal) - Number(float)) > 1e-6 * Math.abs(Number(float))
    ) {
      findings.push(error(node, 'NumericValue and FloatingPointValue differ'));
    }
    return findings;
  });
}

/** An outline is closed, and selected from exactly one image (TID 1410, rows 6 and 7). */
function regionFindings(node: ContentNode): Finding[] {
  const data = stringsOf(node.item, 'GraphicData').map(Number);
  const findings: Finding[] = [];
  if (data.length % 2 !== 0) findings.push(error(node, 'GraphicData holds half a point'));
  if (
    stringOf(node.item, 'GraphicType') === 'POLYLINE' &&
    isConcept(node.concept, DCM.imageRegion) &&
    (data[0] !== data.at(-2) || data[1] !== data.at(-1))
  ) {
    findings.push(error(node, 'the outline of a region is not closed'));
  }
  const images = node.children.filter(
    ({ valueType, relationship }) => valueType === 'IMAGE' && relationship === 'SELECTED FROM',
  );
  if (images.length !== 1)
    findings.push(error(node, `SCOORD is SELECTED FROM ${images.length} images, not 1`));
  return findings;
}

/** The rows of the template that a container names. */
function rowFindings(node: ContentNode): Finding[] {
  const template = node.template === undefined ? undefined : TEMPLATES[node.template];
  if (!template) return [];
  return [...template.rows.flatMap((row) => oneRow(node, template, row)), ...oneOf(node, template)];
}

function oneRow(node: ContentNode, { identifier }: Template, row: Row): Finding[] {
  const name = `TID ${identifier}: ${nameOf(row.concept)}`;
  const found = node.children.filter(({ concept }) => isConcept(concept, row.concept));
  const findings = found.flatMap((child) => [
    ...(child.valueType === row.valueType
      ? []
      : [error(child, `${name} is ${child.valueType || 'of no type'}, not ${row.valueType}`)]),
    ...(child.relationship === row.relationship
      ? []
      : [error(child, `${name} is ${child.relationship || 'not related'}, not ${row.relationship}`)]),
  ]);
  if (found.length < row.least) findings.push(error(node, `${name} is missing`));
  if (found.length > row.most) {
    findings.push(error(node, `${name} stands ${found.length} times, at most ${row.most} allowed`));
  }
  return findings;
}

function oneOf(node: ContentNode, { identifier, oneOf: concepts }: Template): Finding[] {
  if (!concepts || node.children.some(({ concept }) => concepts.some((each) => isConcept(concept, each)))) {
    return [];
  }
  return [error(node, `TID ${identifier}: none of ${concepts.map(nameOf).join(', ')}`)];
}

/** Each measurement group names its template, and no two have the same tracking UID. */
function groupFindings(nodes: readonly ContentNode[]): Finding[] {
  const groups = nodes.filter(({ concept }) => isConcept(concept, DCM.measurementGroup));
  const findings = groups
    .filter(({ template }) => template === undefined)
    .map((node) => error(node, 'measurement group without template'));
  const seen = new Set<string>();
  for (const node of groups.flatMap(({ children }) => children)) {
    if (!isConcept(node.concept, DCM.trackingUniqueIdentifier)) continue;
    const uid = stringOf(node.item, 'UID') ?? '';
    if (seen.has(uid)) findings.push(error(node, `tracking UID ${uid} stands in two measurement groups`));
    seen.add(uid);
  }
  return findings;
}

/** A key object document selects something (TID 2010, rows 7 to 9). */
function keyObjectFindings(root: ContentNode): Finding[] {
  const selected = root.children.filter(
    ({ valueType, relationship }) =>
      ['IMAGE', 'COMPOSITE', 'WAVEFORM'].includes(valueType) && relationship === 'CONTAINS',
  );
  return selected.length > 0 ? [] : [error(root, 'TID 2010: no object is selected')];
}

/** Each referenced instance is in the evidence exactly once and under the same class (PS3.3 C.17.2.3). */
function evidenceFindings(dataset: DicomJson, nodes: readonly ContentNode[]): Finding[] {
  const evidence = ['CurrentRequestedProcedureEvidenceSequence', 'PertinentOtherEvidenceSequence'].flatMap(
    (keyword) =>
      itemsOf(dataset, keyword)
        .flatMap((study) => itemsOf(study, 'ReferencedSeriesSequence'))
        .flatMap((series) => itemsOf(series, 'ReferencedSOPSequence')),
  );
  const uidOf = (reference: DicomJson) => stringOf(reference, 'ReferencedSOPInstanceUID') ?? '';
  const listed = Map.groupBy(evidence, uidOf);
  const twice = [...listed]
    .filter(([, references]) => references.length > 1)
    .map(([uid, { length }]) => error({ position: '' }, `the evidence lists ${uid} ${length} times`));
  const references = nodes.flatMap((node) =>
    itemsOf(node.item, 'ReferencedSOPSequence').flatMap((reference) => {
      const entry = listed.get(uidOf(reference))?.[0];
      if (!entry) return [error(node, `${uidOf(reference)} is not in the evidence`)];
      return stringOf(entry, 'ReferencedSOPClassUID') === stringOf(reference, 'ReferencedSOPClassUID')
        ? []
        : [error(node, `${uidOf(reference)} is of another SOP class in the evidence`)];
    }),
  );
  return [...twice, ...references];
}

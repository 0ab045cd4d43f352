import type { DicomJson } from '../dicom-json.ts';
import { itemsOf, stringOf, stringsOf } from '../writing/keyword.ts';
import { type Code, DCM } from '../sr/code.ts';
import { isUID } from '../uid.ts';
import { allNodes, type ContentNode, contentTree } from './content-tree.ts';
import type { Finding } from './finding.ts';
import {
  GROUP_TEMPLATES,
  KEY_OBJECT_TITLES,
  MODIFIED_TITLES,
  type Row,
  type Template,
  TEMPLATES,
} from './template.ts';

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
 * each value type must hold, tracking identifiers, algorithm identification, that each referenced instance is in
 * the evidence exactly once, and that private coding schemes are declared. Of other objects there is nothing to find.
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
    ...nodes.flatMap(algorithmFindings),
    ...evidenceFindings(dataset, nodes),
    ...codingSchemeFindings(dataset, nodes),
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
    ...(stringOf(root.item, 'RelationshipType') === undefined
      ? []
      : [error(root, 'the root has a relationship')]),
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
    else if (!Number.isFinite(Number(decimal))) findings.push(error(node, 'NumericValue is no number'));
    else if (
      float !== undefined &&
      Math.abs(Number(decimal) - Number(float)) > 1e-6 * Math.abs(Number(float))
    ) {
      findings.push(error(node, 'NumericValue and FloatingPointValue differ'));
    }
    return findings;
  });
}

/** How many points each graphic type has (PS3.3 C.18.6.1.2). */
const pointsOf: Record<string, { least: number; most: number } | undefined> = {
  POINT: { least: 1, most: 1 },
  MULTIPOINT: { least: 1, most: Infinity },
  POLYLINE: { least: 2, most: Infinity },
  CIRCLE: { least: 2, most: 2 },
  ELLIPSE: { least: 4, most: 4 },
};

/** An outline has the points of its type, is closed, and selected from exactly one image (TID 1410, rows 6 and 7). */
function regionFindings(node: ContentNode): Finding[] {
  const data = stringsOf(node.item, 'GraphicData').map(Number);
  const findings: Finding[] = [];
  if (data.length % 2 !== 0) findings.push(error(node, 'GraphicData holds half a point'));
  const points = pointsOf[stringOf(node.item, 'GraphicType') ?? ''];
  if (!points) findings.push(error(node, 'GraphicType is none of PS3.3 C.18.6.1.1'));
  else if (data.length / 2 < points.least || data.length / 2 > points.most)
    findings.push(error(node, `GraphicData holds ${data.length / 2} points`));
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
  return [
    ...template.rows.flatMap((row) => oneRow(node, template, row)),
    ...oneOf(node, template),
    ...strangers(node, template),
  ];
}

/** What stands in a container that is for others: viewers take it for what they expect there. */
function strangers(node: ContentNode, { identifier, only }: Template): Finding[] {
  if (!only) return [];
  return node.children
    .filter(({ concept }) => isConcept(concept, only.within))
    .flatMap(({ children }) => children)
    .filter(({ valueType, concept }) => valueType !== 'CONTAINER' || !isConcept(concept, only.concept))
    .map((child) =>
      error(child, `TID ${identifier}: not a ${nameOf(only.concept)} in ${nameOf(only.within)}`),
    );
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
    .filter(({ template }) => template === undefined || !GROUP_TEMPLATES.includes(template))
    .map((node) =>
      error(node, `measurement group ${node.template ? `of template ${node.template}` : 'without template'}`),
    );
  const seen = new Set<string>();
  for (const node of groups.flatMap(({ children }) => children)) {
    if (!isConcept(node.concept, DCM.trackingUniqueIdentifier)) continue;
    const uid = stringOf(node.item, 'UID') ?? '';
    if (seen.has(uid)) findings.push(error(node, `tracking UID ${uid} stands in two measurement groups`));
    seen.add(uid);
  }
  return findings;
}

/** An algorithm has a name and versions, or is not told at all (TID 4019). */
function algorithmFindings(node: ContentNode): Finding[] {
  const [name, version] = [DCM.algorithmName, DCM.algorithmVersion].map((concept) =>
    node.children.some((child) => isConcept(child.concept, concept)),
  );
  if (name === version) return [];
  return [error(node, `TID 4019: ${nameOf(name ? DCM.algorithmVersion : DCM.algorithmName)} is missing`)];
}

/** A private coding scheme means something only where it is declared (PS3.3 C.12.1.1.1). */
function codingSchemeFindings(dataset: DicomJson, nodes: readonly ContentNode[]): Finding[] {
  const declared = new Set(
    itemsOf(dataset, 'CodingSchemeIdentificationSequence').map((scheme) =>
      stringOf(scheme, 'CodingSchemeDesignator'),
    ),
  );
  const used = nodes.flatMap(({ item }) =>
    ['ConceptNameCodeSequence', 'ConceptCodeSequence'].flatMap((keyword) =>
      itemsOf(item, keyword).map((code) => stringOf(code, 'CodingSchemeDesignator') ?? ''),
    ),
  );
  return [...new Set(used)]
    .filter((scheme) => scheme.startsWith('99') && !declared.has(scheme))
    .map((scheme) => error({ position: '' }, `coding scheme ${scheme} is not declared`));
}

/** A key object document has a purpose, told more precisely where that is provided for, and selects something. */
function keyObjectFindings(root: ContentNode): Finding[] {
  const title = root.concept?.scheme === 'DCM' ? root.concept.value : '';
  const findings = KEY_OBJECT_TITLES.has(title) ? [] : [error(root, 'TID 2010: title is not of CID 7010')];
  if (
    !MODIFIED_TITLES.has(title) &&
    root.children.some(({ concept }) => isConcept(concept, DCM.documentTitleModifier))
  )
    findings.push(error(root, `TID 2010: ${nameOf(DCM.documentTitleModifier)} is not for this title`));
  const selected = root.children.filter(
    ({ valueType, relationship }) =>
      ['IMAGE', 'COMPOSITE', 'WAVEFORM'].includes(valueType) && relationship === 'CONTAINS',
  );
  if (selected.length === 0) findings.push(error(root, 'TID 2010: no object is selected'));
  return findings;
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

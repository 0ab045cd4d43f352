import type { Attributes } from '../writing/keyword.ts';
import { decimalString } from '../writing/decimal-string.ts';
import { type Code, codeItem } from './code.ts';

/** An item of the content tree (PS3.3 C.17.3) and how it relates to the one above. */
export type ContentItem = Attributes;
export type Relationship =
  'CONTAINS' | 'HAS CONCEPT MOD' | 'HAS OBS CONTEXT' | 'INFERRED FROM' | 'SELECTED FROM';

/** A container; `template` names the template of DCMR that it follows. */
export function container(name: Code, content: ContentItem[], template?: string): ContentItem {
  return {
    RelationshipType: 'CONTAINS',
    ValueType: 'CONTAINER',
    ConceptNameCodeSequence: [codeItem(name)],
    ContinuityOfContent: 'SEPARATE',
    ContentTemplateSequence: template && [{ MappingResource: 'DCMR', TemplateIdentifier: template }],
    ContentSequence: content,
  };
}

export function code(relationship: Relationship, name: Code, value: Code): ContentItem {
  return { ...item(relationship, 'CODE', name), ConceptCodeSequence: [codeItem(value)] };
}

export function text(relationship: Relationship, name: Code, value: string): ContentItem {
  return { ...item(relationship, 'TEXT', name), TextValue: value };
}

export function uid(relationship: Relationship, name: Code, value: string): ContentItem {
  return { ...item(relationship, 'UIDREF', name), UID: value };
}

/**
 * A measurement (TID 300). The 16 characters of the decimal may round; the floating point value holds the
 * number itself (PS3.3 C.18.1).
 */
export function measurement(
  name: Code,
  value: number,
  units: Code,
  content: ContentItem[] = [],
): ContentItem {
  return {
    ...item('CONTAINS', 'NUM', name),
    MeasuredValueSequence: [
      {
        NumericValue: decimalString(value),
        FloatingPointValue: value,
        MeasurementUnitsCodeSequence: [codeItem(units)],
      },
    ],
    ContentSequence: content.length > 0 ? content : undefined,
  };
}

/** An image; `reference` as in `sourceReference`. In image libraries (TID 1601) and key object documents (TID 2010) it has no
 * concept name. */
export function image(
  relationship: Relationship,
  name: Code | undefined,
  reference: Attributes,
): ContentItem {
  return {
    RelationshipType: relationship,
    ValueType: 'IMAGE',
    ConceptNameCodeSequence: name && [codeItem(name)],
    ReferencedSOPSequence: [reference],
  };
}

/** An instance that is no image, without concept name, as key object documents list it (TID 2010). */
export function composite(relationship: Relationship, reference: Attributes): ContentItem {
  return { RelationshipType: relationship, ValueType: 'COMPOSITE', ReferencedSOPSequence: [reference] };
}

/** A closed outline on an image (PS3.3 C.18.6): column and row of each point, the first one repeated as last. */
export function closedPolyline(
  name: Code,
  points: readonly (readonly [x: number, y: number])[],
  source: ContentItem,
): ContentItem {
  return {
    ...item('CONTAINS', 'SCOORD', name),
    GraphicType: 'POLYLINE',
    GraphicData: [...points, points[0]].flat(),
    ContentSequence: [source],
  };
}

function item(relationship: Relationship, valueType: string, name: Code): ContentItem {
  return {
    RelationshipType: relationship,
    ValueType: valueType,
    ConceptNameCodeSequence: [codeItem(name)],
  };
}

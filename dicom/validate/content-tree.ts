import type { DicomJson } from '../dicom-json.ts';
import { itemsOf, stringOf } from '../writing/keyword.ts';
import { type Code, codeOf } from '../sr/code.ts';

/** A content item with its place in the tree. */
export interface ContentNode {
  item: DicomJson;
  /** `1` is the root, `1.2` its second child. */
  position: string;
  valueType: string;
  relationship: string;
  concept: Code | undefined;
  /** Of DCMR, where the container names one. */
  template: string | undefined;
  children: ContentNode[];
}

/** The content tree of a structured report or key object document. */
export function contentTree(item: DicomJson, position = '1'): ContentNode {
  const templates = itemsOf(item, 'ContentTemplateSequence').filter(
    (template) => stringOf(template, 'MappingResource') === 'DCMR',
  );
  return {
    item,
    position,
    valueType: stringOf(item, 'ValueType') ?? '',
    relationship: stringOf(item, 'RelationshipType') ?? '',
    concept: itemsOf(item, 'ConceptNameCodeSequence').map(codeOf).at(0),
    template: templates.map((template) => stringOf(template, 'TemplateIdentifier')).at(0),
    children: itemsOf(item, 'ContentSequence').map((child, i) => contentTree(child, `${position}.${i + 1}`)),
  };
}

/** The item and all below it, depth first. */
export function allNodes(node: ContentNode): ContentNode[] {
  return [node, ...node.children.flatMap(allNodes)];
}

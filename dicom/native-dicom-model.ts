import type { DicomJson, DicomJsonAttribute, DicomJsonValue, PersonName } from './dicom-json.ts';
import { keywordOf } from './reading/value-representation.ts';

const componentGroups = ['Alphabetic', 'Ideographic', 'Phonetic'] as const;
const components = ['FamilyName', 'GivenName', 'MiddleName', 'NamePrefix', 'NameSuffix'];

/** A data set as XML by the Native DICOM Model (PS3.19 section A.1), which `application/dicom+xml` stands for. */
export function nativeDicomModel(dataset: DicomJson): string {
  return (
    '<?xml version="1.0" encoding="UTF-8"?>\n' +
    '<NativeDicomModel xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM" xml:space="preserve">' +
    `${attributesOf(dataset)}</NativeDicomModel>\n`
  );
}

/** Text as an XML document may hold it; what is no Char of XML 1.0 (production 2) becomes U+FFFD. */
export function escapedXml(text: string): string {
  return (
    text
      .replace(/[^\t\n\r\x20-\uD7FF\uE000-\uFFFD\u{10000}-\u{10FFFF}]/gu, '\uFFFD')
      .replaceAll('&', '&amp;')
      .replaceAll('<', '&lt;')
      .replaceAll('>', '&gt;')
      .replaceAll('"', '&quot;')
      // As they are, a reader makes a line feed of a carriage return, and in an attribute a space of each.
      .replace(/[\t\n\r]/g, (space) => `&#${space.charCodeAt(0)};`)
  );
}

function attributesOf(dataset: DicomJson): string {
  return Object.keys(dataset)
    .sort()
    .map((tag) => {
      const { vr } = dataset[tag];
      const markup = Object.entries({ ...identity(dataset, tag), vr }).map(
        ([name, value]) => ` ${name}="${escapedXml(value)}"`,
      );
      return `<DicomAttribute${markup.join('')}>${content(dataset[tag])}</DicomAttribute>`;
    })
    .join('');
}

/** A private attribute is known by its creator, not by the block that the creator took in this data set. */
function identity(dataset: DicomJson, tag: string): Record<string, string> {
  const [group, block, element] = [tag.slice(0, 4), tag.slice(4, 6), tag.slice(6)];
  if (Number.parseInt(group, 16) % 2 === 1) {
    const creator = dataset[`${group}00${block}`]?.Value?.[0];
    return typeof creator === 'string' ? { tag: `${group}00${element}`, privateCreator: creator } : { tag };
  }
  const keyword = keywordOf(tag);
  return keyword === undefined ? { tag } : { tag, keyword };
}

function content({ vr, Value = [], InlineBinary, BulkDataURI }: DicomJsonAttribute): string {
  if (BulkDataURI !== undefined) return `<BulkData uri="${escapedXml(BulkDataURI)}"/>`;
  if (InlineBinary !== undefined) return `<InlineBinary>${InlineBinary}</InlineBinary>`;
  const name = vr === 'SQ' ? 'Item' : vr === 'PN' ? 'PersonName' : 'Value';
  return Value.map((value, i) => `<${name} number="${i + 1}">${written(vr, value)}</${name}>`).join('');
}

function written(vr: string, value: DicomJsonValue): string {
  if (value === null) return '';
  if (typeof value !== 'object') return escapedXml(String(value));
  return vr === 'SQ' ? attributesOf(value as DicomJson) : personName(value);
}

function personName(name: PersonName): string {
  return componentGroups
    .filter((group) => name[group])
    .map((group) => {
      const values = name[group]!.split('^');
      const parts = components.map((component, i) =>
        values[i] ? `<${component}>${escapedXml(values[i])}</${component}>` : '',
      );
      return `<${group}>${parts.join('')}</${group}>`;
    })
    .join('');
}

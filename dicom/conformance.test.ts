import { readFileSync, writeFileSync } from 'node:fs';
import dcmjs from 'dcmjs';
import type { DicomJson } from './dicom-json.ts';
import { stringOf } from './writing/keyword.ts';
import { MemorySource } from './reading/byte-source.ts';
import { readInstance } from './reading/part10.ts';
import { everyObject, SOURCES } from './writing/scored-study.fixture.ts';
import { TEMPLATES } from './validate/template.ts';

const FILE = new URL('CONFORMANCE.md', import.meta.url).pathname;
const MARK = '<!-- generated -->\n';

/** The data sets of each kind that the sources have, by source. */
function dataSets(): Map<string, { source: string; dataset: DicomJson }[]> {
  const all = Object.entries(SOURCES).flatMap(([source, scored]) =>
    Object.entries(everyObject(scored())).map(([name, { bytes }]) => {
      const { dataset, hasPixelData } = readInstance(new MemorySource(bytes)).header;
      const pixels = hasPixelData && { [name.startsWith('PMAP') ? '7FE00008' : '7FE00010']: { vr: '' } };
      return { kind: name.replace(/ \d+$/, ''), source, dataset: { ...dataset, ...pixels } };
    }),
  );
  return Map.groupBy(all, ({ kind }) => kind);
}

function table(header: string[], rows: string[][]): string {
  const line = (cells: string[]) => `| ${cells.join(' | ')} |\n`;
  return line(header) + line(header.map(() => '---')) + rows.map(line).join('');
}

function keywordOf(tag: string): string {
  return dcmjs.data.DicomMetaDictionary.dictionary[`(${tag.slice(0, 4)},${tag.slice(4)})`]!.name;
}

function generated(): string {
  const kinds = dataSets();
  const objects = [...kinds].map(([kind, each]) => [
    kind,
    stringOf(each[0].dataset, 'SOPClassUID')!,
    stringOf(each[0].dataset, 'Modality')!,
    [...new Set(each.map(({ dataset }) => stringOf(dataset, 'SeriesNumber')!))].join(', '),
    [...new Set(each.map(({ source }) => source))].join(', '),
  ]);
  const tags = new Set([...kinds.values()].flat().flatMap(({ dataset }) => Object.keys(dataset)));
  const attributes = [...tags].sort().map((tag) => [
    `(${tag.slice(0, 4)},${tag.slice(4)})`,
    keywordOf(tag),
    ...[...kinds.values()].map((each) => {
      const present = each.filter(({ dataset }) => tag in dataset).length;
      return present === each.length ? '●' : present > 0 ? '○' : '';
    }),
  ]);
  const rows = Object.values(TEMPLATES).flatMap(({ identifier, rows: ofTemplate }) =>
    ofTemplate.map(({ concept, relationship, valueType, least, most }) => [
      identifier,
      `(${concept.value}, ${concept.scheme}, "${concept.meaning}")`,
      relationship,
      valueType,
      most === Infinity ? `${least}-n` : least === most ? String(least) : `${least}-${most}`,
    ]),
  );
  return [
    '## Objects',
    table(['Object', 'SOP class', 'Modality', 'Series number', 'Tested with'], objects),
    '## Attributes',
    '● in every object of the test sources, ○ in some. Attributes of items are not listed.',
    table(['Tag', 'Attribute', ...kinds.keys()], attributes),
    '## Rows of templates that `qfae validate` checks',
    table(['TID', 'Concept', 'Relationship', 'Value type', 'Times'], rows),
  ].join('\n\n');
}

/** Without what a formatter does to the width of tables, and to lines between paragraphs. */
const plain = (text: string) =>
  text
    .replace(/ {2,}/g, ' ')
    .replace(/-{3,}/g, '---')
    .replace(/\n{2,}/g, '\n')
    .trim();

test('the tables in CONFORMANCE.md are those of the objects', () => {
  const [text, tables] = readFileSync(FILE, 'utf8').split(MARK);
  if (process.env['CONFORMANCE'] === 'write') writeFileSync(FILE, `${text}${MARK}\n${generated()}`);
  else expect(plain(tables)).toBe(plain(generated()));
});

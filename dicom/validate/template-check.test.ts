import { dataSet, dictionaryEntry, itemsOf } from '../writing/keyword.ts';
import type { DicomJson, DicomJsonValue } from '../dicom-json.ts';
import { MemorySource } from '../reading/byte-source.ts';
import { readInstance } from '../reading/part10.ts';
import { everyObject, SOURCES } from '../writing/scored-study.fixture.ts';
import { type Code, DCM, QFAE } from '../sr/code.ts';
import { allNodes, contentTree } from './content-tree.ts';
import { templateFindings } from './template-check.ts';

const objects = everyObject(SOURCES['CT volume']());
const reading = (name: string): DicomJson =>
  structuredClone(readInstance(new MemorySource(objects[name].bytes)).header.dataset);

const report = () => reading('SR comprehensive-3d 1');
const keyObjects = () => reading('KO 1');

/** The first item of a concept. */
function item(dataset: DicomJson, { value }: Code): DicomJson {
  return allNodes(contentTree(dataset)).find(({ concept }) => concept?.value === value)!.item;
}
/** A measurement group, by its template. */
function group(dataset: DicomJson, template: string): DicomJson {
  return allNodes(contentTree(dataset)).find((node) => node.template === template)!.item;
}
function set(target: DicomJson, attributes: Parameters<typeof dataSet>[0]): void {
  Object.assign(target, dataSet(attributes));
}
function remove(target: DicomJson, keyword: string): void {
  Reflect.deleteProperty(target, dictionaryEntry(keyword).tag);
}
/** The items of a sequence, to be changed. */
const content = (target: DicomJson, keyword = 'ContentSequence'): DicomJsonValue[] =>
  target[dictionaryEntry(keyword).tag].Value!;
function removeChild(target: DicomJson, { value }: Code): void {
  const children = content(target);
  children.splice(
    children.findIndex(
      (child) =>
        itemsOf(child as DicomJson, 'ConceptNameCodeSequence')[0]?.['00080100']?.Value?.[0] === value,
    ),
    1,
  );
}
const evidenceOf = (dataset: DicomJson) =>
  content(
    itemsOf(itemsOf(dataset, 'CurrentRequestedProcedureEvidenceSequence')[0], 'ReferencedSeriesSequence')[0],
    'ReferencedSOPSequence',
  );

test.each(Object.entries(SOURCES))('nothing is wrong with what is written of a %s', (_name, scored) => {
  for (const { bytes } of Object.values(everyObject(scored()))) {
    expect(templateFindings(readInstance(new MemorySource(bytes)).header.dataset)).toEqual([]);
  }
});

const FAULTS: Record<string, [plant: (report: DicomJson) => void, message: RegExp, position: RegExp]> = {
  'a template that is not named': [
    (dataset) => {
      remove(dataset, 'ContentTemplateSequence');
    },
    /template is not named, not 1500/,
    /^1$/,
  ],
  'a group without template': [
    (dataset) => {
      remove(group(dataset, '1410'), 'ContentTemplateSequence');
    },
    /group without template/,
    /^1\.\d+\.1$/,
  ],
  'another title': [
    (dataset) => {
      set(dataset, {
        ConceptNameCodeSequence: [
          { CodeValue: '126001', CodingSchemeDesignator: 'DCM', CodeMeaning: 'Oncology Measurement Report' },
        ],
      });
    },
    /title is not Imaging Measurement Report/,
    /^1$/,
  ],
  'a missing mandatory child': [
    (dataset) => {
      removeChild(dataset, DCM.procedureReported);
    },
    /Procedure reported \(121058, DCM\) is missing/,
    /^1$/,
  ],
  'a missing tracking UID': [
    (dataset) => {
      removeChild(group(dataset, '1410'), DCM.trackingUniqueIdentifier);
    },
    /Tracking Unique Identifier \(112040, DCM\) is missing/,
    /^1\.\d+\.1$/,
  ],
  'a tracking UID of two groups': [
    (dataset) => {
      set(item(group(dataset, '1410'), DCM.trackingUniqueIdentifier), { UID: '2.25.5' });
      set(item(group(dataset, '1501'), DCM.trackingUniqueIdentifier), { UID: '2.25.5' });
    },
    /tracking UID 2\.25\.5 stands in two/,
    /^1(\.\d+)+$/,
  ],
  'a malformed tracking UID': [
    (dataset) => {
      item(dataset, DCM.trackingUniqueIdentifier)[dictionaryEntry('UID').tag].Value = ['1.02'];
    },
    /UID is malformed/,
    /^1(\.\d+)+$/,
  ],
  'another value type': [
    (dataset) => {
      set(item(dataset, DCM.trackingIdentifier), { ValueType: 'CODE' });
    },
    /Tracking Identifier \(112039, DCM\) is CODE, not TEXT/,
    /^1(\.\d+)+$/,
  ],
  'a value type that there is not': [
    (dataset) => {
      set(item(dataset, DCM.finding), { ValueType: 'CODED' });
    },
    /value type CODED/,
    /^1(\.\d+)+$/,
  ],
  'another relationship': [
    (dataset) => {
      set(item(dataset, DCM.observerType), { RelationshipType: 'CONTAINS' });
    },
    /Observer Type \(121005, DCM\) is CONTAINS, not HAS OBS CONTEXT/,
    /^1\.\d+$/,
  ],
  'a child too many': [
    (dataset) => {
      const children = content(group(dataset, '1410'));
      children.push(structuredClone(item(group(dataset, '1410'), DCM.imageRegion)));
    },
    /Image Region \(111030, DCM\) stands 2 times, at most 1/,
    /^1\.\d+\.1$/,
  ],
  'neither measurements nor evaluations': [
    (dataset) => {
      const children = content(dataset);
      children.splice(0, children.length, ...children.slice(0, -3));
    },
    /none of Imaging Measurements/,
    /^1$/,
  ],
  'a reference that is not in the evidence': [
    (dataset) => {
      evidenceOf(dataset).splice(1, 1);
    },
    /2\.25\.\d+ is not in the evidence/,
    /^1(\.\d+)+$/,
  ],
  'evidence that lists an instance twice': [
    (dataset) => {
      evidenceOf(dataset).push(structuredClone(evidenceOf(dataset)[0]));
    },
    /the evidence lists 2\.25\.\d+ 2 times/,
    /^$/,
  ],
  'evidence of another class': [
    (dataset) => {
      set(evidenceOf(dataset)[0] as DicomJson, { ReferencedSOPClassUID: '1.2.840.10008.5.1.4.1.1.4' });
    },
    /is of another SOP class in the evidence/,
    /^1(\.\d+)+$/,
  ],
  'a number without unit': [
    (dataset) => {
      const [measured] = itemsOf(item(dataset, QFAE.pValue), 'MeasuredValueSequence');
      set(measured, { MeasurementUnitsCodeSequence: [] });
    },
    /NUM without exactly one unit/,
    /^1(\.\d+)+$/,
  ],
  'a number without value': [
    (dataset) => {
      remove(item(dataset, QFAE.pValue), 'MeasuredValueSequence');
    },
    /MeasuredValueSequence is missing or empty/,
    /^1(\.\d+)+$/,
  ],
  'a decimal that is not the number': [
    (dataset) => {
      set(itemsOf(item(dataset, QFAE.rawScore), 'MeasuredValueSequence')[0], { NumericValue: '7' });
    },
    /NumericValue and FloatingPointValue differ/,
    /^1(\.\d+)+$/,
  ],
  'an item without concept name': [
    (dataset) => {
      remove(item(dataset, DCM.imageRegion), 'ConceptNameCodeSequence');
    },
    /SCOORD without concept name/,
    /^1(\.\d+)+$/,
  ],
  'an open outline': [
    (dataset) => {
      const region = item(dataset, DCM.imageRegion);
      content(region, 'GraphicData').splice(0, 2);
    },
    /outline of a region is not closed/,
    /^1(\.\d+)+$/,
  ],
  'an outline of no image': [
    (dataset) => {
      remove(item(dataset, DCM.imageRegion), 'ContentSequence');
    },
    /SELECTED FROM 0 images/,
    /^1(\.\d+)+$/,
  ],
  'a root that is related to something': [
    (dataset) => {
      set(dataset, { RelationshipType: 'CONTAINS' });
    },
    /the root has a relationship/,
    /^1$/,
  ],
  'a group of another template': [
    (dataset) => {
      set(group(dataset, '1410'), {
        ContentTemplateSequence: [{ MappingResource: 'DCMR', TemplateIdentifier: '1420' }],
      });
    },
    /measurement group of template 1420/,
    /^1\.\d+\.1$/,
  ],
  'a volume of interest without region, segment or surface': [
    (dataset) => {
      const planar = group(dataset, '1410');
      set(planar, { ContentTemplateSequence: [{ MappingResource: 'DCMR', TemplateIdentifier: '1411' }] });
      removeChild(planar, DCM.imageRegion);
    },
    /TID 1411: none of Image Region/,
    /^1\.\d+\.1$/,
  ],
  'a number among the measurement groups': [
    (dataset) => {
      content(item(dataset, DCM.imagingMeasurements)).push(structuredClone(item(dataset, QFAE.pValue)));
    },
    /not a Measurement Group \(125007, DCM\) in Imaging Measurements/,
    /^1\.\d+\.\d+$/,
  ],
  'a number that is none': [
    (dataset) => {
      const [measured] = itemsOf(item(dataset, QFAE.pValue), 'MeasuredValueSequence');
      measured[dictionaryEntry('NumericValue').tag].Value = ['n/a'];
    },
    /NumericValue is no number/,
    /^1(\.\d+)+$/,
  ],
  'half a point': [
    (dataset) => {
      content(item(dataset, DCM.imageRegion), 'GraphicData').pop();
    },
    /half a point/,
    /^1(\.\d+)+$/,
  ],
  'a point that is many': [
    (dataset) => {
      set(item(dataset, DCM.imageRegion), { GraphicType: 'POINT' });
    },
    /GraphicData holds \d+ points/,
    /^1(\.\d+)+$/,
  ],
  'a graphic type that there is not': [
    (dataset) => {
      set(item(dataset, DCM.imageRegion), { GraphicType: 'POLYGON' });
    },
    /GraphicType is none/,
    /^1(\.\d+)+$/,
  ],
  'an algorithm without version': [
    (dataset) => {
      removeChild(group(dataset, '1410'), DCM.algorithmVersion);
    },
    /TID 4019: Algorithm Version \(111003, DCM\) is missing/,
    /^1\.\d+\.1$/,
  ],
  'an algorithm without name': [
    (dataset) => {
      removeChild(group(dataset, '1501'), DCM.algorithmName);
    },
    /TID 4019: Algorithm Name \(111001, DCM\) is missing/,
    /^1(\.\d+)+$/,
  ],
  'a private coding scheme that is not declared': [
    (dataset) => {
      remove(dataset, 'CodingSchemeIdentificationSequence');
    },
    /coding scheme 99QFAE is not declared/,
    /^$/,
  ],
  'an image of two references': [
    (dataset) => {
      const source = item(dataset, DCM.originalSource);
      content(source, 'ReferencedSOPSequence').push(
        structuredClone(content(source, 'ReferencedSOPSequence')[0]),
      );
    },
    /ReferencedSOPSequence has 2 items, not 1/,
    /^1(\.\d+)+$/,
  ],
};

test.each(Object.entries(FAULTS))('%s is found in a report', (_name, [plant, message, position]) => {
  const dataset = report();
  plant(dataset);
  const finding = templateFindings(dataset).find((each) => message.test(each.message));
  expect(finding).toMatchObject({ source: 'template', severity: 'error' });
  expect(finding!.position).toMatch(position);
});

test('a key object document that selects nothing, and one without template', () => {
  const dataset = keyObjects();
  content(dataset).pop();
  expect(templateFindings(dataset).map(({ message }) => message)).toEqual([
    'TID 2010: no object is selected',
  ]);
  const nameless = keyObjects();
  remove(nameless, 'ContentTemplateSequence');
  expect(templateFindings(nameless).map(({ message }) => message)).toEqual([
    'template is not named, not 2010 of DCMR',
  ]);
});

test('a key object document for no known purpose, and a modifier where there is none', () => {
  const dcm = (CodeValue: string) => [{ CodeValue, CodingSchemeDesignator: 'DCM', CodeMeaning: 'Name' }];
  const titled = (value: string, modified: boolean) => {
    const dataset = keyObjects();
    set(dataset, { ConceptNameCodeSequence: dcm(value) });
    const modifier = dataSet({
      RelationshipType: 'HAS CONCEPT MOD',
      ValueType: 'CODE',
      ConceptNameCodeSequence: dcm('113011'),
      ConceptCodeSequence: dcm('111207'),
    });
    if (modified) content(dataset).unshift(modifier);
    return templateFindings(dataset).map(({ message }) => message);
  };
  expect(titled('113999', false)).toEqual(['TID 2010: title is not of CID 7010']);
  expect(titled('113004', false)).toEqual([]);
  expect(titled('113001', true)).toEqual([]);
  expect(titled('113004', true)).toEqual([
    'TID 2010: Document Title Modifier (113011, DCM) is not for this title',
  ]);
});

test('no message names the patient', () => {
  const dataset = report();
  for (const [plant] of Object.values(FAULTS).slice(2, 5)) plant(dataset);
  expect(JSON.stringify(templateFindings(dataset))).not.toMatch(/Yamada|P-1|A-1|19500101/);
});

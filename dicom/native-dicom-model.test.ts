import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describeWith } from '../fixtures/required-program.ts';
import { everyVR } from './every-vr.fixture.ts';
import { escapedXml, nativeDicomModel } from './native-dicom-model.ts';
import { DicomPool } from './pool.ts';
import { pydicom, python } from './pydicom-reference.ts';

let folder: string;
let pool: DicomPool;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'qfae-native-dicom-model-'));
  pool = new DicomPool({ threads: 1 });
});
afterAll(async () => {
  await pool.close();
  rmSync(folder, { recursive: true });
});

/** What Python's parser makes of XML: element, attributes, text and children. */
const parsed = `
import xml.etree.ElementTree as tree
def element(e, vr=None):
    vr = e.attrib.get('vr', vr)
    text = '' if len(e) or e.tag.endswith(('DicomAttribute', 'Item')) else e.text or ''
    return [e.tag, e.attrib, '%.12g' % float(text) if vr in ('DS', 'FD', 'FL') and text else text, [element(c, vr) for c in e]]
output = element(tree.fromstring(input))
`;

/**
 * More for `d`: a name with all components, text with markup, private attributes of two creators, a repeating group.
 * Binary words are left out, which dcm2xml writes in big endian.
 */
const described = `
d.PatientName = 'Yamada^Tarou^M^Dr^Jr=山田^太郎=やまだ^たろう'
d.ImageComments = 'a < b & "c" > d\\r\\n\\ttab'
d.private_block(0x0099, 'OTHER', create=True).add_new(1, 'LO', 'another')
d.add_new(0x60020010, 'US', 7)
for tag in [t for t in d.keys() if d[t].VR in ('OF', 'OD', 'OL', 'OW')]: del d[tag]
d.file_meta = FileMetaDataset()
d.file_meta.TransferSyntaxUID = '1.2.840.10008.1.2.1'
d.file_meta.MediaStorageSOPClassUID = d.SOPClassUID
d.file_meta.MediaStorageSOPInstanceUID = d.SOPInstanceUID
d.StudyInstanceUID = '1.2.3.4'
d.SeriesInstanceUID = '1.2.3.4.5'
d.is_little_endian = True
d.is_implicit_VR = False
d.save_as(input, write_like_original=False)
output = None
`;

describeWith([python, 'dcm2xml'], 'DCMTK', () => {
  test('a data set becomes the XML that dcm2xml makes of its file', async () => {
    const file = join(folder, 'every-vr.dcm');
    pydicom(everyVR + described, file);
    const { status, stdout } = spawnSync(
      'dcm2xml',
      ['--native-format', '--use-xml-namespace', '--convert-to-utf8', '--encode-base64', file],
      { encoding: 'utf8' },
    );
    expect(status).toBe(0);
    const { dataset } = await pool.readHeader(file);
    expect(pydicom(parsed, nativeDicomModel(dataset))).toEqual(pydicom(parsed, stdout));
  });
});

describeWith([python], 'a parser of XML', () => {
  test('takes text with characters that XML has no place for, and keeps the others', () => {
    const text = 'page\f \u001b[1m\ud800 a\r\n\u0085\u2028\tb ]]> 𝒳 é';
    expect(pydicom(parsed, `<a b="${escapedXml(text)}">${escapedXml(text)}</a>`)).toEqual([
      'a',
      { b: 'page\ufffd \ufffd[1m\ufffd a\r\n\u0085\u2028\tb ]]> 𝒳 é' },
      'page\ufffd \ufffd[1m\ufffd a\r\n\u0085\u2028\tb ]]> 𝒳 é',
      [],
    ]);
  });
});

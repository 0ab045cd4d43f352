/**
 * Python code for `pydicom`, which makes a data set `d`: every VR of PS3.5, sequences in sequences, empty values,
 * values among empty ones, private attributes.
 */
export const everyVR = `
d = Dataset()
d.SpecificCharacterSet = 'ISO_IR 192'
d.SOPClassUID = '1.2.840.10008.5.1.4.1.1.7'
d.SOPInstanceUID = '1.2.3'
d.RetrieveAETitle = ['ONE', 'TWO']
d.StudyDate = '20260131'
d.StudyTime = '235959.123'
d.AcquisitionDateTime = '20260131235959.123456+0100'
d.PatientName = 'Müller^Jörg==ミュラー'
d.OtherPatientNames = ['A^B', 'Яков^Ю']
d.PatientAge = '042Y'
d.ImageType = ['ORIGINAL', '', 'AXIAL']
d.InstanceNumber = -7
d.PixelSpacing = ['0.5', '1e-3']
d.ImageComments = 'two\\nlines \\\\ backslash'
d.DerivationDescription = ' leading'
d.InstitutionAddress = ''
d.FrameIncrementPointer = [0x00181063, 0x00540010]
d.Rows = 65535
d.RecommendedDisplayFrameRateInFloat = 12.5
d.SelectorSLValue = [-2147483648, 2147483647]
d.SelectorSSValue = [-32768, 5]
d.SelectorULValue = [4294967295]
d.SelectorFDValue = [1e300, -0.1]
d.SelectorFLValue = [1.5]
d.SelectorUCValue = ['Größe', 'b']
d.SelectorURValue = 'https://example.org/a\\\\b'
d.SelectorUTValue = 'Текст'
d.SelectorOBValue = bytes(range(5)) + b'\\0'
d.SelectorOWValue = bytes(range(8))
d.SelectorOFValue = numpy.array([1.5, -2], '<f4').tobytes()
d.SelectorODValue = numpy.array([1.5, -2], '<f8').tobytes()
d.SelectorOLValue = numpy.array([1, 4000000000], '<u4').tobytes()
inner = Dataset()
inner.CodeValue = 'ä'
empty = Dataset()
code = Dataset()
code.CodeMeaning = 'Bedeutung'
code.ConceptCodeSequence = pydicom.Sequence([inner, empty])
d.AnatomicRegionSequence = pydicom.Sequence([code])
d.ProcedureCodeSequence = pydicom.Sequence([])
block = d.private_block(0x0099, 'QFAE TEST', create=True)
block.add_new(1, 'LO', 'private')
block.add_new(2, 'US', [1, 2])
d.SmallestImagePixelValue = 3
d.PixelRepresentation = 0
`;

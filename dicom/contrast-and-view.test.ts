import { mrContrast } from './mr-contrast.ts';
import { viewPosition } from './view-position.ts';
import { dataSet } from './writing/keyword.ts';

test.each([
  [{ SeriesDescription: 'Ax T2 FLAIR' }, 'FLAIR'],
  [{ SeriesDescription: 't2_tirm_tra_dark-fluid' }, 'FLAIR'],
  [{ SeriesDescription: 'T1 FLAIR SAG' }, 'T1'],
  [{ SeriesDescription: 'T1W_3D_TFE' }, 'T1'],
  [{ SeriesDescription: 'MPRAGE post' }, 'T1'],
  [{ SeriesDescription: 'T2W_TSE' }, 'T2'],
  [{ SeriesDescription: 't2*_gre' }, undefined],
  [{ SeriesDescription: 'ep2d_diff_ADC' }, undefined],
  [{ SeriesDescription: 'brain 3', ProtocolName: 'FLAIR axial' }, 'FLAIR'],
  [{ RepetitionTime: 9000, EchoTime: 120, InversionTime: 2500 }, 'FLAIR'],
  [{ RepetitionTime: 4000, EchoTime: 100 }, 'T2'],
  [{ RepetitionTime: 500, EchoTime: 12 }, 'T1'],
  [{ RepetitionTime: 3000, EchoTime: 30 }, undefined],
  [{}, undefined],
  [{ AcquisitionContrast: 'FLUID_ATTENUATED', SeriesDescription: 'T1' }, 'FLAIR'],
  [{ AcquisitionContrast: 'DIFFUSION', SeriesDescription: 'T2' }, undefined],
  [{ AcquisitionContrast: 'UNKNOWN', SeriesDescription: 'T2' }, 'T2'],
])('the contrast of %j is %s', (attributes, contrast) => {
  expect(mrContrast(dataSet(attributes))).toBe(contrast);
});

test.each([
  [{ ViewPosition: 'PA' }, 'PA'],
  [{ ViewCodeSequence: [{ CodeMeaning: 'postero-anterior' }] }, 'PA'],
  [{ ViewPosition: [], ViewCodeSequence: [{ CodeMeaning: 'antero-posterior' }] }, 'AP'],
  [{ ViewCodeSequence: [{ CodeMeaning: 'left lateral' }] }, 'LL'],
  [{}, undefined],
])('the view of %j is %s', (attributes, view) => {
  expect(viewPosition(dataSet(attributes))).toBe(view);
});

import { decide, type StudyAttributes } from './decide.ts';
import { completeAt } from './completeness.ts';
import { holds, type Condition } from './condition.ts';
import { defaultRules, readRules } from './rules-file.ts';
import type { Rule } from './schema.ts';

const context = { archives: ['local', 'orthanc', 'research'], sources: ['local', 'orthanc'] };

function rulesOf(text: string): Rule[] {
  const read = readRules('rules.yaml', text, context);
  if ('problems' in read) throw new Error(read.problems.join('\n'));
  return read.rules;
}

const brain: StudyAttributes = {
  archive: 'orthanc',
  sourceAETitle: 'SCANNER1',
  series: [
    {
      seriesInstanceUID: '1.1',
      instanceCount: 30,
      dataset: {
        '00080060': { vr: 'CS', Value: ['MR'] },
        '00080020': { vr: 'DA', Value: ['20260105'] },
        '0008103E': { vr: 'LO', Value: ['AX T2 FLAIR (tra)'] },
        '00100010': { vr: 'PN', Value: [{ Alphabetic: 'Doe^Jane' }] },
        '00101010': { vr: 'AS', Value: ['018M'] },
        '00180050': { vr: 'DS', Value: [5] },
        '00080008': { vr: 'CS', Value: ['ORIGINAL', 'PRIMARY', 'M'] },
      },
    },
    {
      seriesInstanceUID: '1.2',
      instanceCount: 3,
      dataset: { '00080060': { vr: 'CS', Value: ['MR'] }, '0008103E': { vr: 'LO', Value: ['Localizer'] } },
    },
  ],
};

describe('a condition', () => {
  test.each<[Condition, (string | number)[], boolean]>([
    ['mr', ['MR'], true],
    ['M', ['MR'], false],
    ['*flair*', ['AX T2 FLAIR (tra)'], true],
    ['(tra)', ['AX T2 FLAIR (tra)'], false],
    ['*(tra)', ['AX T2 FLAIR (tra)'], true],
    ['a.c', ['abc'], false],
    ['a?c', ['abc'], true],
    [['CT', 'MR'], ['MR'], true],
    [['CT', 'MR'], ['DX'], false],
    [1.5, [1.5], true],
    [1.5, ['1.50'], true],
    [{ not: 'MR' }, ['CT', 'MR'], false],
    [{ not: 'MR' }, [], true],
    [{ matches: 'flair|tirm' }, ['T2 TIRM'], true],
    [{ matches: '^flair' }, ['T2 FLAIR'], false],
    [{ matches: 't2', not: '*localizer*' }, ['T2 Localizer'], false],
    [{ from: 3, to: 6 }, [5], true],
    [{ from: 3, to: 6 }, [6.01], false],
    [{ to: 6 }, ['thin'], false],
    [{ to: 6 }, [], false],
    [{ from: '2026-01-01' }, ['20260105'], true],
    [{ from: '2026-01-01' }, ['20251231'], false],
    [{ to: '2025-12-31' }, ['20251231'], true],
    [{ present: false }, [], true],
    [{ present: true }, [], false],
    [{ is: ['A', 'B'], present: true }, ['B'], true],
  ])('%j of %j: %s', (condition, values, expected) => {
    expect(holds(condition, values)).toBe(expected);
  });
});

describe('rules', () => {
  const text = `
rules:
  - name: children stay out
    study: { PatientAge: { to: 1 } }
    score: false
  - name: brain FLAIR
    from: orthanc
    callingAE: SCANNER*
    study:
      ModalitiesInStudy: MR
      StudyDate: { from: 2026-01-01 }
    series:
      SeriesDescription: { matches: flair }
      SliceThickness: { from: 3, to: 6 }
      NumberOfSeriesRelatedInstances: { from: 10 }
    profile: brain-mri
    outputs: { seg: 'off' }
    to: [orthanc, research]
    priority: 5
  - name: the rest
    score: false
`;

  test('the first that applies decides, with the series that fit it', () => {
    const { rule, series, outcomes } = decide(rulesOf(text), brain);
    expect(rule).toMatchObject({
      name: 'brain FLAIR',
      profile: 'brain-mri',
      outputs: { seg: 'off' },
      to: ['orthanc', 'research'],
      priority: 5,
      score: true,
    });
    expect(rule!.outputs).toEqual({ seg: 'off' });
    expect(series).toEqual(['1.1']);
    expect(outcomes.map(({ rule, applies }) => [rule, applies])).toEqual([
      ['children stay out', false],
      ['brain FLAIR', true],
      ['the rest', true],
    ]);
    expect(outcomes[0].study).toEqual([
      { attribute: 'PatientAge', wanted: { to: 1 }, found: [1.5], holds: false },
    ]);
    expect(outcomes[1].series[1]).toMatchObject({
      seriesInstanceUID: '1.2',
      fits: false,
      conditions: [
        { attribute: 'SeriesDescription', found: ['Localizer'], holds: false },
        { attribute: 'SliceThickness', found: [], holds: false },
        { attribute: 'NumberOfSeriesRelatedInstances', found: [3], holds: false },
      ],
    });
  });

  test.each([
    ['another archive', { ...brain, archive: 'local' }],
    ['another sender', { ...brain, sourceAETitle: 'OTHER' }],
    ['no sender', { ...brain, sourceAETitle: null }],
    ['no series that fits', { ...brain, series: [brain.series[1]] }],
    ['no series', { ...brain, series: [] }],
  ])('do not apply: %s', (_what, study) => {
    expect(decide(rulesOf(text), study).rule?.name).toBe('the rest');
  });

  test('none may apply; without a file every study is scored as the settings say', () => {
    expect(decide([], brain)).toEqual({ rule: undefined, series: [], outcomes: [] });
    expect(decide(defaultRules, brain)).toMatchObject({
      rule: { score: true, outputs: {}, priority: 0 },
      series: ['1.1', '1.2'],
    });
  });

  test('explanations do not name the patient', () => {
    const decision = decide(rulesOf('rules: [{ name: a, study: { PatientName: "doe*" } }]'), brain);
    expect(decision.outcomes[0].study).toEqual([
      { attribute: 'PatientName', wanted: 'doe*', found: null, holds: true },
    ]);
    expect(JSON.stringify(decision.outcomes)).not.toContain('Doe^Jane');
  });
});

describe('a wrong file is refused with line and reason', () => {
  test.each([
    ['rules:\n  - name: a\n  - name: a\n', /^rules\.yaml:3: rules\.1\.name: another rule has this name$/],
    [
      'rules:\n  - name: a\n    study:\n      Modalty: MR\n',
      /^rules\.yaml:4: rules\.0\.study\.Modalty: no keyword of PS3\.6$/,
    ],
    ['rules:\n  - name: a\n    study: { PixelData: 1 }\n', /:3: .*VR O[BW]|ox/],
    [
      'rules:\n  - name: a\n    series:\n      Modality: { matches: "(" }\n',
      /:4: .*matches: not a regular expression$/,
    ],
    [
      'rules:\n  - name: a\n    series:\n      Modality: { is: CT, like: MR }\n',
      /:4: .*Modality: Unrecognized key: "like"$/,
    ],
    ['rules:\n  - name: a\n    series:\n      Modality: {}\n', /:4: .*give one of is, not/],
    [
      'rules:\n  - name: a\n    to: nowhere\n',
      /:3: rules\.0\.to: no archive nowhere; there are: local, orthanc, research$/,
    ],
    [
      'rules:\n  - name: a\n    from: research\n',
      /:3: rules\.0\.from: no archive research; studies come from: local, orthanc$/,
    ],
    ['rules:\n  - name: a\n    outputs: { sr: maybe }\n', /:3: rules\.0\.outputs\.sr: /],
    ['rules:\n  - name: a\n    complete: { instances: 9 }\n', /:3: .*instances: needs waitSeconds/],
    ['rules:\n  - name: a\n    colour: red\n', /:2: rules\.0: Unrecognized key: "colour"$/],
    ['rules:\n  - name: a\n   profile: b\n', /^rules\.yaml:3: /],
    ['', /^rules\.yaml: rules: /],
  ])('%j', (text, problem) => {
    const read = readRules('rules.yaml', text, context);
    expect(read).toEqual({ problems: [expect.stringMatching(problem)] });
  });

  test('each of several problems is named', () => {
    const read = readRules(
      'rules.yaml',
      'rules:\n  - name: a\n    from: x\n    to: [y, local, z]\n',
      context,
    );
    expect('problems' in read && read.problems.map((problem) => problem.split(':')[1])).toEqual([
      '3',
      '4',
      '4',
    ]);
  });
});

describe('a study is complete', () => {
  const at = (seconds: number) => new Date(1000 * seconds);
  const arrival = { firstSeenAt: at(0), changedAt: at(50) };
  const rule = (complete: string) => rulesOf(`rules: [{ name: a, complete: { ${complete} } }]`)[0];

  test.each([
    ['', 5, 110],
    ['quietSeconds: 10', 5, 60],
    ['waitSeconds: 55', 5, 55],
    ['waitSeconds: 300', 5, 110],
    ['instances: 6, waitSeconds: 300', 5, 300],
    ['instances: 5, waitSeconds: 300', 5, 110],
    ['instances: 5, waitSeconds: 300, quietSeconds: 1', 5, 51],
  ])('%s, of %d instances: at %d s', (complete, instances, seconds) => {
    expect(completeAt(rule(complete), arrival, instances, 60)).toEqual(at(seconds));
  });
});

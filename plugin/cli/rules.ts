import { existsSync } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Command } from 'commander';
import { stringOf } from '../../dicom/reading/attribute.ts';
import { DicomPool } from '../../dicom/pool.ts';
import { decide, type ConditionOutcome, type StudyAttributes } from '../rules/decide.ts';
import { planOf } from '../rules/plan.ts';
import { defaultRules, readRules, type RulesContext } from '../rules/rules-file.ts';
import { rulesSource } from '../rules/rules-watch.ts';
import type { Rule } from '../rules/schema.ts';
import { testRules, type Verdict as StoredVerdict } from '../rules/test-rules.ts';
import { isOwnResult } from '../scoring/algorithm.ts';
import { loadSettings, type Settings } from '../settings.ts';
import { localArchiveName } from '../store/instance-store.ts';
import { orthancArchiveName } from '../archive/orthanc.ts';
import { withNodeOrDatabase } from './node-or-database.ts';
import { withArchives } from './own-archives.ts';

/** What is told of a study. */
type Verdict = Pick<StoredVerdict, 'studyInstanceUID' | 'rule' | 'reason' | 'outcomes'> & {
  plan: Omit<NonNullable<StoredVerdict['plan']>, 'series'> | null;
};

/** `qfae rules`: whether a file of rules is right, and what rules say of a study. */
export function rulesCommand(): Command {
  const command = new Command('rules').exitOverride().description('check rules, and try them on a study');

  command
    .command('check')
    .description('say what is wrong with a file of rules, line by line')
    .argument('[file]', 'default: the file that the node reads')
    .action(async (file: string | undefined) => {
      const rules = await rulesOf(file, loadSettings());
      console.log(
        rules.map(({ name }, i) => `${i + 1}. ${name}`).join('\n') || 'no rules: nothing is scored',
      );
    });

  command
    .command('test')
    .description('say what would happen to a study, and why: each rule, each condition')
    .argument('<study>', 'StudyInstanceUID of a study in an archive; or a DICOM file or folder')
    .option('--archive <name>', 'where the study is', localArchiveName)
    .option('--rules <file>', 'other rules than those that the node reads; not of a running node')
    .option('--json', 'a JSON line on stdout')
    .action(async (study: string, options: { archive: string; rules?: string; json?: true }) => {
      const settings = loadSettings();
      const verdict = existsSync(study)
        ? await ofFiles(study, options, settings)
        : await ofStored(study, options);
      console.log(options.json ? JSON.stringify({ type: 'rules-test', ...verdict }) : explain(verdict));
    });
  return command;
}

/** @throws Error with a line for each problem. */
async function rulesOf(named: string | undefined, settings: Settings): Promise<Rule[]> {
  const { file, optional } = named === undefined ? rulesSource(settings) : { file: named, optional: false };
  if (optional && !existsSync(file)) return defaultRules;
  const read = readRules(file, await readFile(file, 'utf8'), archivesOf(settings));
  if ('problems' in read) throw new Error(read.problems.join('\n'));
  return read.rules;
}

function archivesOf(settings: Settings): RulesContext {
  const others = Object.entries(settings.archives);
  const sources = [
    localArchiveName,
    ...(settings.orthanc ? [orthancArchiveName] : []),
    ...others.filter(([, { type }]) => type === 'dicomweb').map(([name]) => name),
  ];
  return { sources, archives: [...new Set([...sources, ...others.map(([name]) => name)])] };
}

async function ofStored(
  studyInstanceUID: string,
  { archive: name, rules }: { archive: string; rules?: string },
): Promise<Verdict> {
  const answered: Verdict[] = [];
  await withNodeOrDatabase(
    async (call) => {
      if (rules !== undefined) throw new Error('--rules: a node runs, which has rules of its own');
      const query = new URLSearchParams({ study: studyInstanceUID, archive: name });
      answered.push((await call('GET', `/rules/test?${query.toString()}`)) as Verdict);
    },
    async ({ settings, database }) => {
      const tried = await rulesOf(rules, settings);
      const verdict = await withArchives({ settings, database }, async (archives) => {
        const archive = archives.get(name);
        if (!archive) throw new Error(`no archive ${name} in the settings`);
        return testRules({ database, settings }, tried, archive, studyInstanceUID);
      });
      answered.push(verdict);
    },
  );
  return answered[0];
}

async function ofFiles(
  path: string,
  { archive, rules }: { archive: string; rules?: string },
  settings: Settings,
): Promise<Verdict> {
  const study = await readStudy(path, archive);
  const decision = decide(await rulesOf(rules, settings), study);
  const plan = await planOf(decision, settings, archive);
  const studyInstanceUID = stringOf(study.series[0].dataset, '0020000D') ?? '';
  const { outcomes } = decision;
  if ('reason' in plan) return { studyInstanceUID, ...plan, plan: null, outcomes };
  const { rule, bundle, outputs, to, priority } = plan;
  return { studyInstanceUID, rule, reason: null, plan: { bundle, outputs, to, priority }, outcomes };
}

/** @throws Error if the files are of several studies, or none is DICOM. */
async function readStudy(path: string, archive: string): Promise<StudyAttributes> {
  const files = (await stat(path)).isDirectory()
    ? (await readdir(path, { recursive: true, withFileTypes: true }))
        .filter((entry) => entry.isFile())
        .map((entry) => join(entry.parentPath, entry.name))
    : [path];
  const pool = new DicomPool({ threads: 1 });
  try {
    const headers = [];
    for (const file of files) {
      const header = await pool.readHeader(file).catch((error: unknown) => {
        console.error(`${file}: ${(error as Error).message}`);
        return undefined;
      });
      if (header && !isOwnResult(header.dataset)) headers.push(header);
    }
    const studies = new Set(headers.map(({ studyInstanceUID }) => studyInstanceUID));
    if (studies.size !== 1) throw new Error(`${path}: ${studies.size} studies; rules look at one`);
    const series = Map.groupBy(headers, ({ seriesInstanceUID }) => seriesInstanceUID);
    return {
      archive,
      sourceAETitle: null,
      series: [...series].map(([seriesInstanceUID, [{ dataset }, ...others]]) => ({
        seriesInstanceUID,
        instanceCount: 1 + others.length,
        dataset,
      })),
    };
  } finally {
    await pool.close();
  }
}

function explain({ rule, reason, plan, outcomes }: Verdict): string {
  const lines = outcomes.flatMap((outcome) => [
    `${outcome.rule === rule ? '→' : ' '} ${outcome.rule}: ${outcome.applies ? 'applies' : 'does not apply'}`,
    ...outcome.study.map((condition) => `      ${describe(condition)}`),
    ...outcome.series.flatMap(({ seriesInstanceUID, fits, conditions }) => [
      `      series ${seriesInstanceUID}: ${fits ? 'fits' : 'does not fit'}`,
      ...conditions.map((condition) => `        ${describe(condition)}`),
    ]),
  ]);
  const end = plan
    ? `scored by ${plan.bundle}, results to ${plan.to.join(', ')}, priority ${plan.priority}`
    : `not scored: ${reason ?? ''}`;
  return [...lines, end].join('\n');
}

function describe({ attribute, wanted, found, holds }: ConditionOutcome): string {
  const value = found === null ? '(not told)' : found.map(String).join(', ') || 'nothing';
  return `${holds ? 'yes' : 'no '}  ${attribute} is ${value}; wanted ${JSON.stringify(wanted)}`;
}

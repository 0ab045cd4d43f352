import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { until } from '../../fixtures/until.ts';
import { openEmbeddedDatabase, type Database } from '../database/database.ts';
import { eventsAfter, presentPosition } from '../events/event-log.ts';
import { createLog } from '../log.ts';
import { SettingsError } from '../settings.ts';
import { ruleBook } from './rule-book.ts';
import { RulesWatch } from './rules-watch.ts';

let folder: string;
let file: string;
let database: Database;
let watch: RulesWatch | undefined;
const context = { archives: ['local'], sources: ['local'] };

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'qfae-rules-'));
  file = join(folder, 'rules.yaml');
  database = await openEmbeddedDatabase(join(folder, 'database'));
});

afterEach(async () => {
  await watch?.close();
  watch = undefined;
  rmSync(file, { force: true });
  await database.query('delete from rule_book');
});

afterAll(async () => {
  await database.close();
  rmSync(folder, { recursive: true });
});

const open = async (optional = true) => {
  await watch?.close();
  watch = await RulesWatch.open(database, { file, optional }, context, createLog('silent'));
  return watch;
};
const names = async () => (await ruleBook(database)).rules.map(({ name }) => name);
/** Puts a file in the place of the one before, as editors do: nobody reads half of it. */
const write = (text: string) => {
  writeFileSync(`${file}.new`, text);
  renameSync(`${file}.new`, file);
};

test('what is written into the file comes into force; what is wrong is refused, and the old rules stay', async () => {
  write('rules: [{ name: first }]');
  const { state } = await open();
  expect([await names(), state]).toEqual([['first'], { file, problems: [] }]);

  const before = await presentPosition(database);
  write('rules: [{ name: second }, { name: third }]');
  await until('new rules', async () => (await names()).length === 2);

  write('rules:\n  - name: fourth\n    colour: red\n');
  await until('problems', () => watch!.state.problems.length > 0);
  expect(watch!.state.problems).toEqual([`${file}:2: rules.0: Unrecognized key: "colour"`]);
  expect(await names()).toEqual(['second', 'third']);

  write('rules: [{ name: second }, { name: third }]');
  await until('an end of the problems', () => watch!.state.problems.length === 0);
  const events = await until('three events', async () => {
    const all = await eventsAfter(database, before);
    return all.length >= 3 && all;
  });
  expect(events.map(({ type, data }) => [type, Object.keys(data)])).toEqual([
    ['rules', ['version']],
    ['rules', ['refused']],
    ['rules', ['refused']],
  ]);
});

test('a restart with a wrong file keeps the rules that were in force; without any, it is refused', async () => {
  write('rules: 1');
  await expect(open()).rejects.toThrow(SettingsError);
  await expect(open()).rejects.toThrow(`${file}:1: rules: `);
  write('rules: [{ name: first }]');
  await open();
  write('rules: 1');
  const { state } = await open();
  expect([await names(), state.problems.length]).toEqual([['first'], 1]);
});

test('no file means default rules where it may be missing, and is a mistake where the settings name it', async () => {
  await expect(open(false)).rejects.toThrow(`${file}: no such file`);
  expect((await open()).state.problems).toEqual([]);
  expect(await ruleBook(database)).toMatchObject({
    version: 'default',
    since: null,
    rules: [{ score: true }],
  });
  write('rules: []');
  await until('no rules', async () => (await names()).length === 0);
  rmSync(file);
  await until('default rules', async () => (await ruleBook(database)).version === 'default');
});

import { existsSync } from 'node:fs';
import { createInterface, type Interface } from 'node:readline/promises';
import { Command } from 'commander';
import { parseDocument } from 'yaml';
import { writeAtomically } from '../../inference/atomic-file.ts';
import { settingsSchema } from '../settings.ts';

/** What the questions are about; an empty text is left to its default. */
interface Answers {
  data: string;
  port: string;
  quietSeconds: string;
  url: string;
  username: string;
  password: string;
}

/** A question, the key of its setting, and what is there without an answer. */
type Question = readonly [name: keyof Answers, question: string, path: readonly string[], preset: string];

const questions: readonly Question[] = [
  ['data', 'Folder for everything that the node keeps', ['data'], './data'],
  ['port', 'Port of the dashboard and of DICOMweb', ['http', 'port'], '8780'],
  [
    'quietSeconds',
    'A study is complete when nothing of it has arrived for how many seconds',
    ['arrival', 'quietSeconds'],
    '60',
  ],
  ['url', 'Address of an Orthanc, as http://127.0.0.1:8042 (empty: none)', ['orthanc', 'url'], ''],
];

const orthancQuestions: readonly Question[] = [
  ['username', 'User name for Orthanc (empty: none)', ['orthanc', 'username'], ''],
  [
    'password',
    'Password for Orthanc; it is written into the file (empty: none)',
    ['orthanc', 'password'],
    '',
  ],
];

/** `qfae init`: asks a few questions and writes a commented configuration. */
export function initCommand(): Command {
  return new Command('init')
    .description('write a commented qfae.yaml by asking a few questions')
    .option('--file <file>', 'where to', process.env['QFAE_CONFIG'] ?? 'qfae.yaml')
    .option('--force', 'replace a file that is there')
    .action(async ({ file, force }: { file: string; force?: true }) => {
      if (existsSync(file) && !force) throw new Error(`${file} is there already: --force replaces it`);
      const terminal = createInterface({ input: process.stdin, output: process.stderr });
      try {
        const answers = await ask(terminal);
        await writeAtomically(file, async (written) => {
          await written.chmod(0o600); // there may be a password in it
          await written.writeFile(settingsText(answers));
        });
        console.error(`${file} is written. Check it with "npm run qfae -- doctor", then "npm start".`);
      } finally {
        terminal.close();
      }
    });
}

/** Asks until each answer is one that the settings take. Throws when the input ends before. */
async function ask(terminal: Interface): Promise<Answers> {
  const lines = terminal[Symbol.asyncIterator]();
  const answers: Answers = { data: '', port: '', quietSeconds: '', url: '', username: '', password: '' };
  for (const question of questions) await askOne(question);
  if (answers.url !== '') for (const question of orthancQuestions) await askOne(question);
  return answers;

  async function askOne([name, question, path, preset]: Question): Promise<void> {
    for (;;) {
      process.stderr.write(`${question}${preset ? ` [${preset}]` : ''}: `);
      const line = await lines.next();
      if (line.done) throw new Error('the input ended before the last question; nothing is written');
      answers[name] = line.value.trim() || preset;
      const problem = problemOf(answers, path.join('.'));
      if (problem === undefined) return;
      console.error(`  ${problem}`);
    }
  }
}

/** Why the settings do not take what was answered so far under a path. */
function problemOf(answers: Answers, path: string): string | undefined {
  const document = parseDocument(settingsText(answers));
  if (document.errors.length > 0) return 'cannot be written as YAML';
  const parsed = settingsSchema.safeParse(document.toJS());
  return parsed.error?.issues.find((issue) => issue.path.join('.') === path)?.message;
}

/** The configuration, with a comment on each key; what is as it is by default stands there as a comment. */
function settingsText({ data, port, quietSeconds, url, username, password }: Answers): string {
  const text = (value: string) => JSON.stringify(value); // a YAML string in double quotes
  const orthanc =
    url === ''
      ? `# orthanc:                 # an Orthanc whose studies are scored, and that receives the results
#   url: http://127.0.0.1:8042
#   username: qfae
#   password: secret`
      : `orthanc:                   # an Orthanc whose studies are scored, and that receives the results
  url: ${text(url)}
  ${username === '' ? '# username: qfae' : `username: ${text(username)}`}
  ${password === '' ? '# password: secret' : `password: ${text(password)}`}`;
  return `# Settings of the QFAE node. README.md lists all keys; each is also an environment variable.

data: ${text(data)}            # everything that the node keeps

http:
  port: ${port}               # dashboard, API and DICOMweb
  # host: 127.0.0.1        # who can reach it

arrival:
  quietSeconds: ${quietSeconds}         # a study is complete when nothing of it has arrived for so long

${orthanc}

# bundle: untrained        # what scores where no rule names a profile

# cStore:                  # receive studies by C-STORE
#   enabled: true
#   senders: [{ aeTitle: CT1, address: 10.0.0.21 }]

# outputs:                 # what is written into a study
#   sc: flagged            # heatmaps of flagged slices; all, off
#   seg: 'on'              # segments of volumes
`;
}

import { Command, InvalidArgumentError } from 'commander';
import { openDataFolder } from '../data-folder/data-folder.ts';
import { DataFolderLockedError, lockDataFolder } from '../data-folder/lock.ts';
import { openDatabase } from '../database/open-database.ts';
import { listJobs, type Job, type JobFilter } from '../jobs/jobs.ts';
import { JobQueue } from '../jobs/queue.ts';
import { scoringStates, type ScoringState } from '../jobs/scorings.ts';
import { createLog } from '../log.ts';
import { loadSettings, type Settings } from '../settings.ts';
import { wholeNumber } from './arguments.ts';

/** A job as the API's JSON has it: times are text. */
type JobLine = { [Key in keyof Job]: Job[Key] extends Date | null ? string | null : Job[Key] };

/** Where jobs are looked at and changed. */
interface Jobs {
  list(filter: JobFilter): Promise<JobLine[]>;
  change(action: 'retry' | 'cancel', id: string): Promise<JobLine>;
}

/** `qfae jobs`: what waits, what runs, what failed and why; failed ones are tried again, others cancelled. */
export function jobsCommand(): Command {
  const command = new Command('jobs').exitOverride().description('list, retry and cancel scoring jobs');

  command
    .command('list')
    .description('jobs, the newest first; those that failed are the dead letters')
    .option('--state <states>', `of ${scoringStates.join(', ')}; several are separated by commas`, states)
    .option('--study <uid>', 'StudyInstanceUID')
    .option('--limit <n>', 'at most so many', wholeNumber, 100)
    .option('--json', 'JSON lines on stdout')
    .action(async (options: { state?: ScoringState[]; study?: string; limit: number; json?: true }) => {
      const filter = {
        limit: options.limit,
        ...(options.state && { states: options.state }),
        ...(options.study !== undefined && { studyInstanceUID: options.study }),
      };
      await withJobs(async (jobs) => {
        for (const job of await jobs.list(filter)) tell(job, options);
      });
    });

  for (const [action, description] of [
    ['retry', 'queue failed or cancelled jobs again'],
    ['cancel', 'cancel jobs that wait or run'],
  ] as const) {
    command
      .command(action)
      .description(description)
      .argument('<ids...>')
      .option('--json', 'JSON lines on stdout')
      .action(async (ids: string[], options: { json?: true }) => {
        await withJobs(async (jobs) => {
          for (const id of ids) tell(await jobs.change(action, id), options);
        });
      });
  }
  return command;
}

function states(text: string): ScoringState[] {
  return text.split(',').map((name) => {
    const state = scoringStates.find((each) => each === name);
    if (!state) throw new InvalidArgumentError(`${name} is none of ${scoringStates.join(', ')}`);
    return state;
  });
}

function tell(job: JobLine, { json }: { json?: true }): void {
  if (json) console.log(JSON.stringify({ type: 'job', ...job }));
  else {
    const { id, state, step, requestedAt, archive, studyInstanceUID, reason } = job;
    const where = step === null ? state : `${state} (${step})`;
    console.log(
      `${id}  ${requestedAt}  ${where}  ${archive}  ${studyInstanceUID}  ${reason ?? ''}`.trimEnd(),
    );
  }
}

/** Asks the node that has the data folder open; where none has, opens the database itself. */
async function withJobs(body: (jobs: Jobs) => Promise<void>): Promise<void> {
  const settings = loadSettings();
  const folder = openDataFolder(settings.data);
  let lock;
  try {
    lock = await lockDataFolder(folder.root);
  } catch (error) {
    if (!(error instanceof DataFolderLockedError)) throw error;
    return body(jobsOfNode(settings));
  }
  try {
    const log = createLog('silent');
    const database = await openDatabase(settings, folder, log);
    try {
      const queue = await JobQueue.open({ database, log, settings: settings.jobs, worker: 'command line' });
      try {
        await body({
          list: async (filter) => (await listJobs(database, filter)).map(asLine),
          change: async (action, id) => asLine(await queue[action](id)),
        });
      } finally {
        await queue.close(1000);
      }
    } finally {
      await database.close();
    }
  } finally {
    lock.release();
  }
}

function asLine(job: Job): JobLine {
  return JSON.parse(JSON.stringify(job)) as JobLine;
}

function jobsOfNode({ http: { host, port } }: Settings): Jobs {
  const root = `http://${host.includes(':') ? `[${host}]` : host}:${port}/api/v1/jobs`;
  const request = async (path: string, method: string): Promise<unknown> => {
    const answer = await fetch(`${root}${path}`, { method }).catch((error: unknown) => {
      throw new Error(`the node that has the data folder open does not answer at ${root}`, { cause: error });
    });
    const body = (await answer.json()) as { detail?: string; title?: string };
    if (!answer.ok) throw new Error(body.detail ?? body.title ?? `${root} answered ${answer.status}`);
    return body;
  };
  return {
    async list({ states, studyInstanceUID, limit }) {
      const query = new URLSearchParams({
        limit: String(Math.min(limit, 500)),
        ...(states && { state: states.join(',') }),
        ...(studyInstanceUID !== undefined && { study: studyInstanceUID }),
      });
      return ((await request(`?${query.toString()}`, 'GET')) as { jobs: JobLine[] }).jobs;
    },
    change: async (action, id) => (await request(`/${encodeURIComponent(id)}/${action}`, 'POST')) as JobLine,
  };
}

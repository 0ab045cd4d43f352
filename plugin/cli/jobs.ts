import { Command, InvalidArgumentError } from 'commander';
import { listJobs, type Job, type JobFilter } from '../jobs/jobs.ts';
import { scoringStates, type ScoringState } from '../jobs/scorings.ts';
import { wholeNumber } from './arguments.ts';
import { withNodeOrDatabase, type CallApi } from './node-or-database.ts';

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

async function withJobs(body: (jobs: Jobs) => Promise<void>): Promise<void> {
  await withNodeOrDatabase(
    (call) => body(jobsOfNode(call)),
    ({ database, queue }) =>
      body({
        list: async (filter) => (await listJobs(database, filter)).map(asLine),
        change: async (action, id) => asLine(await queue[action](id)),
      }),
  );
}

function asLine(job: Job): JobLine {
  return JSON.parse(JSON.stringify(job)) as JobLine;
}

function jobsOfNode(call: CallApi): Jobs {
  return {
    async list({ states, studyInstanceUID, limit }) {
      const query = new URLSearchParams({
        limit: String(Math.min(limit, 500)),
        ...(states && { state: states.join(',') }),
        ...(studyInstanceUID !== undefined && { study: studyInstanceUID }),
      });
      return ((await call('GET', `/jobs?${query.toString()}`)) as { jobs: JobLine[] }).jobs;
    },
    change: async (action, id) =>
      (await call('POST', `/jobs/${encodeURIComponent(id)}/${action}`)) as JobLine,
  };
}

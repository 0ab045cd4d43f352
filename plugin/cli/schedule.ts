import { Command } from 'commander';
import { setPaused } from '../retraining/retrainings.ts';
import { scheduleStates } from '../retraining/schedule.ts';
import { loadSettings } from '../settings.ts';
import { withNodeOrDatabase } from './node-or-database.ts';
import { printJson } from './print-json.ts';

/** A schedule, from the API or from the database. */
interface Listed {
  name: string;
  profile: string;
  cron: string;
  timezone: string;
  paused: boolean;
  next: Date | string | null;
  last: { state: string; reason: string | null; bundle: string | null; outcome: string | null } | null;
}

interface JsonOption {
  json?: true;
}

/** `qfae schedule`: when bundles are trained anew. */
export function scheduleCommand(): Command {
  const command = new Command('schedule')
    .exitOverride()
    .description('list, run and pause the retrainings of the settings');
  const withName = (name: string, description: string) =>
    command
      .command(name)
      .description(description)
      .argument('<schedule>')
      .option('--json', 'a JSON line on stdout');

  command
    .command('list')
    .description('schedules, their next firing, and what came of the last one')
    .option('--json', 'JSON lines on stdout')
    .action(async (options: JsonOption) => {
      await withNodeOrDatabase(
        async (call) => {
          const { schedules } = (await call('GET', '/schedules')) as { schedules: Listed[] };
          for (const schedule of schedules) tell(schedule, options);
        },
        async ({ settings, database }) => {
          for (const schedule of await scheduleStates(settings.retraining.schedules, database)) {
            tell(schedule, options);
          }
        },
      );
    });

  withName('run', 'train now, in the node').action(async (name: string, { json }: JsonOption) => {
    expectKnown(name);
    await withNodeOrDatabase(
      async (call) => {
        const retraining = (await call('POST', `/schedules/${name}/run`)) as object;
        if (json) printJson({ type: 'retraining', ...retraining });
        else console.log(`${name}: training begins`);
      },
      () => Promise.reject(new Error('no node runs: start it, or use qfae retrain')),
    );
  });

  for (const [action, description] of [
    ['pause', 'let a schedule not fire any more'],
    ['resume', 'let a paused schedule fire again'],
  ] as const) {
    withName(action, description).action(async (name: string, options: JsonOption) => {
      expectKnown(name);
      await withNodeOrDatabase(
        async (call) => {
          tell((await call('POST', `/schedules/${name}/${action}`)) as Listed, options);
        },
        async ({ settings, database }) => {
          await setPaused(database, name, action === 'pause');
          const states = await scheduleStates(settings.retraining.schedules, database);
          tell(
            states.find((state) => state.name === name)!,
            options,
          );
        },
      );
    });
  }
  return command;
}

function expectKnown(name: string): void {
  const { schedules } = loadSettings().retraining;
  if (name in schedules) return;
  throw new Error(
    `no schedule ${name} in the settings; there are: ${Object.keys(schedules).join(', ') || 'none'}`,
  );
}

function tell(schedule: Listed, { json }: JsonOption): void {
  const { name, profile, cron, timezone, paused, next, last } = schedule;
  if (json) {
    printJson({ type: 'schedule', ...schedule });
    return;
  }
  const when = paused || next === null ? 'paused' : `next ${new Date(next).toISOString()}`;
  const result = last
    ? [last.state, last.outcome, last.bundle, last.reason].filter(Boolean).join(', ')
    : 'none';
  console.log(`${name}  ${profile}  ${cron} ${timezone}  ${when}  last: ${result}`);
}

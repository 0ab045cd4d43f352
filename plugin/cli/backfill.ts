import { Command, InvalidArgumentError } from 'commander';
import { isSearchable } from '../archive/archive.ts';
import { backfill, type Requested } from '../jobs/backfill.ts';
import { rescore } from '../jobs/rescore.ts';
import { wholeNumber } from './arguments.ts';
import { withNodeOrDatabase } from './node-or-database.ts';
import { withArchives } from './own-archives.ts';

interface Options {
  limit: number;
  priority: number;
  dryRun?: true;
  json?: true;
}

/** `qfae backfill`: studies that an archive held before it was connected. */
export function backfillCommand(): Command {
  return withRequestOptions(
    new Command('backfill')
      .description('score studies of an archive that match a query and were never asked to be scored')
      .requiredOption(
        '--query <keys>',
        'QIDO-RS matching keys, as "StudyDate=20260101-20260331&ModalitiesInStudy=MR"',
        matchingKeys,
      )
      .option('--archive <name>', 'the archive; local: the node’s own store', 'orthanc'),
  ).action(async ({ query, archive: name, ...options }: Options & Backfill) => {
    const request = requestOf(options);
    await withNodeOrDatabase(
      async (call) => {
        tell((await call('POST', '/backfill', { archive: name, query, ...request })) as Requested, options);
      },
      async ({ settings, database, queue }) => {
        await withArchives({ settings, database }, async (archives) => {
          const archive = archives.get(name);
          if (!isSearchable(archive)) throw new Error(`there is no archive ${name} that can be searched`);
          tell(await backfill(database, queue, archive, query, request), options);
        });
      },
    );
  });
}

interface Backfill {
  query: Record<string, string>;
  archive: string;
}

/** `qfae rescore`: studies again, with the bundle and the rules of today. */
export function rescoreCommand(): Command {
  return withRequestOptions(
    new Command('rescore')
      .description('score studies again, the latest first; without STUDY, all that the options name')
      .argument('[studies...]', 'StudyInstanceUIDs')
      .option('--archive <name>', 'those of this archive')
      .option('--bundle <id>', 'those that were scored with this bundle last'),
  ).action(
    async (
      studies: string[],
      { archive, bundle, ...options }: Options & Record<string, string | undefined>,
    ) => {
      const filter = { archive, bundle, studies: studies.length > 0 ? studies : undefined };
      const request = requestOf(options);
      await withNodeOrDatabase(
        async (call) => {
          tell((await call('POST', '/rescore', { ...filter, ...request })) as Requested, options);
        },
        async ({ database, queue }) => {
          tell(await rescore(database, queue, filter, request), options);
        },
      );
    },
  );
}

function withRequestOptions(command: Command): Command {
  return command
    .requiredOption('--limit <n>', 'at most so many studies', wholeNumber)
    .option('--priority <n>', 'what arrives has 0 and goes first', integer, -10)
    .option('--dry-run', 'name the studies, queue nothing')
    .option('--json', 'a JSON line a study on stdout');
}

function requestOf({ limit, priority, dryRun }: Options) {
  return { limit, priority, dryRun: dryRun ?? false };
}

function tell({ found, studies }: Requested, { dryRun, json }: Options): void {
  for (const studyInstanceUID of studies) {
    console.log(json ? JSON.stringify({ type: 'requested', studyInstanceUID }) : studyInstanceUID);
  }
  console.error(`${studies.length} of ${found} studies ${dryRun ? 'would be' : 'will be'} scored`);
}

function matchingKeys(text: string): Record<string, string> {
  const keys = [...new URLSearchParams(text)];
  const wrong = keys.find(([key]) => !/^(\w+|[0-9A-Fa-f]{8})$/.test(key));
  if (keys.length === 0 || wrong) throw new InvalidArgumentError(`give Keyword=value pairs, joined by &`);
  return Object.fromEntries(keys);
}

function integer(text: string): number {
  if (!/^-?\d{1,3}$/.test(text)) throw new InvalidArgumentError('not a whole number from -999 to 999');
  return Number(text);
}

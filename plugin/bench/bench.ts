import { Command, Option } from 'commander';
import { executionProviders } from '../../inference/execution-provider.ts';
import type { RuntimeSettings } from '../../inference/provider-choice.ts';
import { precisions } from '../../inference/precision.ts';
import { benchDicom } from './dicom.ts';
import { benchLargeObject } from './large-object.ts';
import { benchNode, nodeTables } from './node.ts';
import { scoreDeviation } from './score-deviation.ts';
import { benchScore } from './score.ts';
import { benchSoak } from './soak.ts';
import { benchTrain, trainParts } from './train.ts';
import type { TrainPart } from './train.ts';

/** `npm run bench -- <what>`: speed against a reference that is measured in the same run. */
const program = new Command('bench')
  .description('measure speed against a reference in the same run')
  .option('--json', 'one JSON object on stdout');

program
  .command('score')
  .description(
    'the full-size brain-mri model with random weights; in another precision than float32, next to it',
  )
  .addOption(
    new Option('--provider <name>', 'what computes').choices(['auto', ...executionProviders]).default('cpu'),
  )
  .addOption(
    new Option('--precision <name>', 'of the matrix products')
      .choices(['auto', ...precisions])
      .default('auto'),
  )
  .option('--batches <sizes>', 'batch sizes, separated by commas', '1,4,16')
  .option('--runs <n>', 'runs at each batch size', '3')
  .option('--threads <n>', 'threads of onnxruntime (default: its own choice)')
  .option('--prepack', 'let onnxruntime reorder the weights first')
  .action(
    async (
      options: RuntimeSettings & { batches: string; runs: string; threads?: string; prepack?: true },
    ) => {
      const results = await benchScore({
        batches: options.batches.split(',').map(Number),
        runs: Number(options.runs),
        prepack: options.prepack ?? false,
        runtime: options,
        ...(options.threads !== undefined && { threads: Number(options.threads) }),
      });
      const [{ provider, precision }] = results;
      const deviation = precision === 'float32' ? {} : await scoreDeviation(provider, precision);
      print(results.map((result) => ({ ...result, ...deviation })));
    },
  );

program
  .command('train')
  .description('a training step of the full-size brain-mri model with random weights, on the CPU')
  .addOption(
    new Option('--parts <names...>', 'parts of the step').choices(trainParts).default([...trainParts]),
  )
  .option('--batch <n>', 'slices in a step', '2')
  .option('--steps <n>', 'steps of each part', '3')
  .option('--checkpointing', 'compute the decoder’s blocks again in the backward pass')
  .option('--threads <n>', 'threads of onnxruntime (default: its own choice)')
  .action(async (options: TrainArguments) => {
    print(
      await benchTrain({
        parts: options.parts,
        batch: Number(options.batch),
        steps: Number(options.steps),
        checkpointing: options.checkpointing ?? false,
        ...(options.threads !== undefined && { threads: Number(options.threads) }),
      }),
    );
  });

program
  .command('node')
  .description('STOW-RS and WADO-RS next to the installed Orthanc, in turn; jobs; searches in a large index')
  .addOption(
    new Option('--tables <names...>', 'what is measured').choices(nodeTables).default([...nodeTables]),
  )
  .option('--megabytes <n>', 'size of the study that is sent and fetched in one request', '1000')
  .option('--rounds <n>', 'times that each server gets its turn', '3')
  .option('--instances <sizes>', 'sizes of the index that is searched, separated by commas', '100000,1000000')
  .action(async (options: NodeArguments) => {
    const results = await benchNode({
      tables: options.tables,
      instances: options.instances.split(',').map(Number),
      megabytes: Number(options.megabytes),
      rounds: Number(options.rounds),
    });
    if (program.opts<{ json?: true }>().json) console.log(JSON.stringify(results));
    else for (const table of Object.values(results) as object[][]) print(table);
  });

interface NodeArguments {
  tables: (typeof nodeTables)[number][];
  megabytes: string;
  rounds: string;
  instances: string;
}

interface TrainArguments {
  parts: TrainPart[];
  batch: string;
  steps: string;
  checkpointing?: true;
  threads?: string;
}

program
  .command('dicom')
  .description('read, decode and window a CT series in each transfer syntax, next to pydicom and DCMTK')
  .option('--slices <n>', 'of the series', '200')
  .option('--rounds <n>', 'times that each reader gets its turn', '3')
  .action(async (options: { slices: string; rounds: string }) => {
    print(await benchDicom({ slices: Number(options.slices), rounds: Number(options.rounds) }));
  });

program
  .command('large-object')
  .description('read a large multi-frame object frame by frame, and tell what memory that takes')
  .option('--gigabytes <n>', 'size of the object', '2')
  .option('--frames <n>', 'how many frames are read, from all over it', '200')
  .action(async (options: { gigabytes: string; frames: string }) => {
    print(await benchLargeObject(Number(options.gigabytes), Number(options.frames)));
  });

program
  .command('soak')
  .description('let studies arrive for some time, and watch the resident memory of the node')
  .option('--minutes <n>', 'how long', '20')
  .option('--every <seconds>', 'pause between two studies', '3')
  .action(async ({ minutes, every }: { minutes: string; every: string }) => {
    print([await benchSoak(Number(minutes), Number(every))]);
  });

function print(results: object[]): void {
  if (program.opts<{ json?: true }>().json) console.log(JSON.stringify(results));
  else console.table(results);
}

await program.parseAsync();

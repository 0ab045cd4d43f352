import type { InferenceSession } from 'onnxruntime-node';

/** Where onnxruntime computes. What a GPU provider has no kernel for still runs on the CPU. */
export const executionProviders = ['cuda', 'webgpu', 'cpu'] as const;

export type ExecutionProvider = (typeof executionProviders)[number];

export interface RuntimeOptions {
  /** Default: `cpu`. */
  readonly provider?: ExecutionProvider;
  /** Where the graph's external weights lie; none if it has none. */
  readonly weightsFolder?: string;
  /** Threads of onnxruntime within an operator; its own choice if left out. */
  readonly threads?: number;
  /**
   * Whether weights are copied into the order in which the kernels read them: faster at small batches, slow to
   * open, and up to twice the memory. Default: they are used where they lie in the file.
   */
  readonly prepack?: boolean;
  /** Outputs that stay on the device, to be fed back from there; with the provider `webgpu` only. */
  readonly deviceOutputs?: readonly string[];
}

/** How onnxruntime opens a session, in every thread that opens one. */
export function runtimeOptions({
  provider = 'cpu',
  weightsFolder,
  threads,
  prepack = false,
  deviceOutputs,
}: RuntimeOptions): InferenceSession.SessionOptions {
  return {
    executionProviders: [provider],
    ...(threads !== undefined && { intraOpNumThreads: threads }),
    ...(deviceOutputs && {
      preferredOutputLocation: Object.fromEntries(deviceOutputs.map((name) => [name, 'gpu-buffer'] as const)),
    }),
    // What fails is thrown; stderr is for the JSON lines of the node.
    logSeverityLevel: 4,
    // A third of the memory less, at no cost in time.
    enableMemPattern: false,
    extra: {
      session: {
        // Unpacked weights are used where they lie in the file: pages are shared between sessions.
        disable_prepacking: prepack ? '0' : '1',
        // Threads that wait leave the processor to the rest of the node.
        'intra_op.allow_spinning': '0',
        ...(weightsFolder !== undefined && { model_external_initializers_file_folder_path: weightsFolder }),
      },
    },
  };
}

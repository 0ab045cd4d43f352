import { existsSync, readFileSync } from 'node:fs';
import { isMap, parse, type Document } from 'yaml';
import { z } from 'zod';
import { executionProviders } from '../inference/execution-provider.ts';
import { precisions } from '../inference/precision.ts';
import { scheduleSchema } from './retraining/schedule-settings.ts';
import { placeOf, readYaml } from './yaml-file.ts';

const seconds = z.number().positive();
const onOrOff = z.enum(['on', 'off']);
/** An address without credentials in it: those are settings of their own. */
const httpAddress = z
  .url({ protocol: /^https?$/ })
  .refine(
    (url) => (URL.parse(url)?.username ?? '') === '',
    'give username and password as settings of their own',
  );
/** PS3.5 6.2: at most 16 characters, not only spaces, no backslash and no control characters. */
const aeTitle = z.string().regex(/^(?=.*[^ ])[ -[\]-~]{1,16}$/, 'not an AE title');
/** Names of archives that have their own settings. */
const reservedArchives = ['local', 'orthanc'];

/** Of archives and schedules. */
const entryName = z
  .string()
  .regex(/^[a-z][a-z0-9-]{0,30}$/, 'not a name of small letters, digits and hyphens');
/** A record's wrong key is told as its own problem. */
const keyProblem = {
  error: (issue: { code?: string | undefined; issues?: { message: string }[] | undefined }) =>
    issue.code === 'invalid_key' ? issue.issues?.[0].message : undefined,
};

const archiveSchema = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('dicomweb'),
    /** Root of the DICOMweb service. */
    url: httpAddress,
    username: z.string().optional(),
    password: z.string().optional(),
    /** Sent as a bearer token instead of username and password. */
    token: z.string().optional(),
    timeoutSeconds: seconds.default(60),
    /** Whether studies that arrive in it are scored: it is asked for them every `pollSeconds`. */
    watch: z.boolean().default(false),
    pollSeconds: seconds.default(30),
    /** Only studies whose date is no more than this many days ago are seen to arrive or to grow. */
    watchDays: z.number().int().min(0).max(366).default(3),
    /** As `arrival.since`, for this archive. */
    since: z.iso.datetime({ offset: true }).optional(),
  }),
  z.strictObject({
    /** A receiver of C-STORE: results can be sent to it. */
    type: z.literal('dicom'),
    aeTitle,
    host: z.string().min(1),
    port: z.number().int().min(1).max(65535).default(104),
    /** What the node calls itself. */
    callingAETitle: aeTitle.default('QFAE'),
    timeoutSeconds: seconds.default(60),
  }),
]);

export type ArchiveSettings = z.infer<typeof archiveSchema>;

/** Settings one by one. */
const singleSettings = z.strictObject({
  /** Folder that holds everything the node keeps. */
  data: z.string().min(1).default('./data'),
  database: z
    .strictObject({
      /** A PostgreSQL server that workers on other machines share; without it, one is embedded in the node. */
      url: z
        .string()
        .refine(
          (url) => /^postgres(ql)?:$/.test(URL.parse(url)?.protocol ?? ''),
          'not of the form postgres://user:password@host:port/database',
        )
        .optional(),
    })
    .prefault({}),
  node: z
    .strictObject({
      /** Where a worker on another machine reaches the node, for studies in the node's own store. */
      url: httpAddress.optional(),
      /** The token by which it does, with the roles reader and sender. */
      token: z.string().optional(),
    })
    .prefault({}),
  http: z
    .strictObject({
      host: z.string().min(1).default('127.0.0.1'),
      port: z.number().int().min(0).max(65535).default(8780),
      /** Certificate chain and private key, as PEM files; read again when they are renewed. */
      tls: z.strictObject({ certificateFile: z.string().min(1), keyFile: z.string().min(1) }).optional(),
      /** A proxy that encrypts stands before the node, and says for whom it asks (X-Forwarded-For, -Proto). */
      behindProxy: z.boolean().default(false),
      /** On the loopback address only requests to it are served; a proxy's name, where it passes the Host on. */
      allowedHosts: z.array(z.string().min(1)).default([]),
      /** Pages of other origins that may use DICOMweb (CORS): viewers, for example. */
      allowedOrigins: z
        .array(z.url().refine((url) => URL.parse(url)?.origin === url, 'an origin is scheme, host and port'))
        .default([]),
    })
    .prefault({}),
  access: z
    .strictObject({
      /** Default: off on the loopback address, on elsewhere and behind a proxy. */
      authentication: onOrOff.optional(),
      /** An OpenID Connect provider whose access tokens are taken beside the node's own. */
      oidc: z
        .strictObject({
          /** As the provider calls itself; its configuration is found below it. */
          issuer: httpAddress,
          /** Who the tokens must be meant for. */
          audience: z.string().min(1),
          /** The claim that names roles; a dot leads into a claim: `realm_access.roles`. */
          rolesClaim: z.string().min(1).default('roles'),
        })
        .optional(),
    })
    .prefault({}),
  dicomweb: z
    .strictObject({
      /** Whether clients may delete studies, series and instances. */
      delete: z.boolean().default(false),
    })
    .prefault({}),
  viewer: z
    .strictObject({
      /** Archives that browsers read themselves, at this path or address, instead of through the node. */
      roots: z
        .record(
          entryName,
          z.union([z.string().regex(/^\/[\w./-]*$/, 'neither a path nor an address'), httpAddress]),
          keyProblem,
        )
        .default({}),
    })
    .prefault({}),
  arrival: z
    .strictObject({
      /** A study is complete when nothing of it has arrived for this long. */
      quietSeconds: seconds.default(60),
      /** Studies that an archive received earlier are not scored on their own; default: the first start. */
      since: z.iso.datetime({ offset: true }).optional(),
    })
    .prefault({}),
  /** An Orthanc whose studies are scored, and that receives the results. */
  orthanc: z
    .strictObject({
      url: httpAddress,
      username: z.string().optional(),
      password: z.string().optional(),
      /** Path of the DICOMweb plugin below the URL. */
      dicomWebRoot: z.string().default('/dicom-web'),
      pollSeconds: seconds.default(5),
      timeoutSeconds: seconds.default(60),
    })
    .optional(),
  /** Other archives, by the name that rules give: sources of studies, destinations of results. */
  archives: z
    .record(
      entryName.refine((name) => !reservedArchives.includes(name), 'this name is taken'),
      archiveSchema,
      keyProblem,
    )
    .default({}),
  /** The node as a receiver of C-STORE. */
  cStore: z
    .strictObject({
      enabled: z.boolean().default(false),
      host: z.string().min(1).default('127.0.0.1'),
      port: z.number().int().min(0).max(65535).default(11112),
      aeTitle: aeTitle.default('QFAE'),
      /** Who may send: an AE title, or `*` for any, where given only from this IP address. */
      senders: z
        .array(z.strictObject({ aeTitle: aeTitle, address: z.union([z.ipv4(), z.ipv6()]).optional() }))
        .default([]),
      maxAssociations: z.number().int().min(1).max(1000).default(16),
      /** A sender that says nothing for this long is cut off. */
      timeoutSeconds: seconds.default(60),
    })
    .refine(({ enabled, senders }) => !enabled || senders.length > 0, {
      path: ['senders'],
      message: 'name those who may send',
    })
    .prefault({}),
  /** Result objects. Segments and parametric maps are written of volumes: two positioned slices or more. */
  outputs: z
    .strictObject({
      /** Some viewers draw outlines from `comprehensive` only. */
      sr: z.enum(['comprehensive-3d', 'comprehensive', 'off']).default('comprehensive-3d'),
      sc: z.enum(['flagged', 'all', 'off']).default('flagged'),
      seg: onOrOff.default('on'),
      pmap: onOrOff.default('off'),
      ko: onOrOff.default('off'),
      pr: onOrOff.default('off'),
    })
    .prefault({}),
  /** File of rules; default: `rules.yaml` beside the settings, if it is there. */
  rules: z.string().min(1).optional(),
  /** Bundle that scores: an ID, or a name (the promoted one of that name). */
  bundle: z.string().min(1).default('brain-t1-demo'),
  jobs: z
    .strictObject({
      /** Whether the node itself scores, or leaves it to workers. */
      work: z.boolean().default(true),
      /** A study that takes longer has failed. */
      timeLimitSeconds: seconds.max(7 * 24 * 3600).default(4 * 3600),
      /** A worker that says nothing for this long is taken for dead; another one takes its job over. */
      heartbeatSeconds: z.number().int().min(10).max(3600).default(60),
    })
    .prefault({}),
  inference: z
    .strictObject({
      /** Slices in one run of the model, at most. */
      batchSize: z.number().int().min(1).max(256).default(4),
      /** `auto`: the first of CUDA, WebGPU and CPU that works. */
      provider: z.enum(['auto', ...executionProviders]).default('auto'),
      /** `auto`: float16 on a GPU that has it, float32 on the CPU. */
      precision: z.enum(['auto', ...precisions]).default('auto'),
    })
    .prefault({}),
  retraining: z
    .strictObject({
      /** Runs of a profile of which the folder is kept: it holds StudyInstanceUIDs and pictures of slices. */
      keepRuns: z.number().int().min(1).max(100).default(3),
      /** How long after its failure a scheduled retraining is tried once again: what was away may be back. */
      retrySeconds: seconds.max(86_400).default(600),
      /** Retrainings by name, and when each begins. */
      schedules: z.record(entryName, scheduleSchema, keyProblem).default({}),
    })
    .prefault({}),
  decoding: z
    .strictObject({
      threads: z.number().int().min(1).max(64).default(2),
      timeoutSeconds: seconds.default(60),
    })
    .prefault({}),
  limits: z
    .strictObject({
      /** Largest DICOM object that STOW-RS and C-STORE accept, in bytes; of a deflated one also its data set, inflated. */
      instanceBytes: z
        .number()
        .int()
        .positive()
        .default(4 * 2 ** 30),
      /** Most bytes that the node's own store holds. */
      storeBytes: z.number().int().positive().optional(),
      /** So much of the disk stays free: database, logs and results need room where no study may have it. */
      freeBytes: z
        .number()
        .int()
        .min(0)
        .default(2 ** 30),
      /** Most bytes of one STOW-RS request. */
      requestBytes: z
        .number()
        .int()
        .positive()
        .default(64 * 2 ** 30),
      /** Most objects of one STOW-RS request. */
      parts: z.number().int().positive().default(20_000),
      /** A request must have come within this time. */
      requestSeconds: seconds.max(7 * 24 * 3600).default(4 * 3600),
      /** A request's head must have come within this time; a body that comes to a halt, or almost, for twice as long is broken off. */
      stallSeconds: seconds.max(60).default(30),
      /** Requests from one address. */
      requestsPerMinute: z.number().int().positive().default(60_000),
      /** Connections at once. */
      connections: z.number().int().positive().default(1024),
    })
    .prefault({}),
  /** After how many days what the node holds is removed; what has no number here stays. */
  retention: z
    .strictObject({
      /** Studies in the node's own store, with their results, counted from the last instance that came. */
      studiesDays: z.number().positive().optional(),
      /** Scorings that have ended, in worklist and API. */
      scoringsDays: z.number().positive().optional(),
      /** Anomaly maps and reconstructions of slices, of any archive, counted from the end of the scoring. */
      mapsDays: z.number().positive().optional(),
      /** Days of the audit log. */
      auditDays: z.number().positive().default(730),
    })
    .prefault({}),
  /** Scores of late are compared with those of the calibration. */
  drift: z
    .strictObject({
      days: z.number().positive().max(365).default(7),
      /** Fewer studies say nothing. */
      minStudies: z.number().int().min(2).default(30),
      /** An alert needs both: a distance that chance does not explain, and one that matters. */
      pValue: z.number().gt(0).lt(1).default(0.001),
      statistic: z.number().gt(0).lt(1).default(0.2),
    })
    .prefault({}),
  log: z.strictObject({ level: z.enum(['debug', 'info', 'warn', 'error']).default('info') }).prefault({}),
});

/** Settings of the node, as `qfae.yaml` and `QFAE_…` variables give them. */
export const settingsSchema = singleSettings.superRefine(({ archives, orthanc, viewer }, context) => {
  const known = new Set([...Object.keys(archives), ...(orthanc ? ['orthanc'] : [])]);
  for (const name of Object.keys(viewer.roots).filter((name) => !known.has(name))) {
    context.addIssue({ code: 'custom', path: ['viewer', 'roots', name], message: 'no archive of this name' });
  }
});

export type Settings = z.infer<typeof settingsSchema>;

/** Variables that share the prefix but are no settings. */
const otherVariables = new Set(['QFAE_CONFIG', 'QFAE_REQUIRE_PROGRAMS']);

/** Keys whose variables are taken as they stand: a password of digits is no number. */
const texts = new Set(['username', 'password', 'token']);

/** Settings that can stand in a file of their own: `orthanc.passwordFile` names one with the password. */
const secret = /(^|\.)(password|token)$|^database\.url$/;

/** Why settings were refused: one line a problem, each with its place. */
export class SettingsError extends Error {
  override name = 'SettingsError';
}

/**
 * Reads `qfae.yaml` (or the file that `QFAE_CONFIG` names), then lets `QFAE_…` variables override it:
 * `http.port` is `QFAE_HTTP_PORT`, `arrival.quietSeconds` is `QFAE_ARRIVAL_QUIET_SECONDS`. A secret may be in a file:
 * `orthanc.passwordFile` or `QFAE_ORTHANC_PASSWORD_FILE` for `orthanc.password`.
 *
 * @throws SettingsError naming file, line and reason of every problem.
 */
export function loadSettings(environment: NodeJS.ProcessEnv = process.env): Settings {
  const named = environment['QFAE_CONFIG'];
  const file = named ?? 'qfae.yaml';
  if (named !== undefined && !existsSync(named)) throw new SettingsError(`${named}: no such file`);
  const text = existsSync(file) ? readFileSync(file, 'utf8') : '';

  const yaml = readYaml(file, text);
  if ('problems' in yaml) throw new SettingsError(yaml.problems.join('\n'));
  const { document } = yaml;
  const overridden = overrideFromEnvironment(document, environment);

  const parsed = settingsSchema.safeParse(withSecrets(document.toJS() ?? {}));
  if (parsed.success) return parsed.data;
  throw new SettingsError(
    parsed.error.issues
      .map((issue) => {
        const path = issue.path.join('.');
        const variable = overridden.get(path);
        return `${variable ?? placeOf(yaml, issue)}: ${path || 'settings'}: ${issue.message}`;
      })
      .join('\n'),
  );
}

/** Reads secrets from the files that settings name, and puts them where they belong. */
function withSecrets(value: unknown, at = ''): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]: [string, unknown]) => {
      const name = key.replace(/File$/, '');
      if (name === key || !secret.test(at + name)) return [key, withSecrets(inner, `${at}${key}.`)];
      if (name in value) throw new SettingsError(`${at}${key}: ${at}${name} is given too`);
      return [name, readSecret(at + key, inner)];
    }),
  );
}

function readSecret(place: string, file: unknown): string {
  if (typeof file !== 'string') throw new SettingsError(`${place}: not the name of a file`);
  let text;
  try {
    text = readFileSync(file, 'utf8').replace(/\r?\n$/, '');
  } catch (error) {
    throw new SettingsError(`${place}: ${(error as Error).message}`);
  }
  if (text === '') throw new SettingsError(`${place}: ${file} is empty`);
  return text;
}

/** Writes each `QFAE_…` variable into the document; returns the variable behind each dotted path. */
function overrideFromEnvironment(document: Document.Parsed, environment: NodeJS.ProcessEnv) {
  const named = settingPaths();
  const files = named
    .filter((path) => secret.test(path.join('.')))
    .map((path) => path.with(-1, `${path.at(-1)}File`));
  const paths = new Map([...named, ...files].map((path) => [variableName(path), path]));
  const overridden = new Map<string, string>();
  if (!isMap(document.contents)) document.contents = document.createNode({}) as never;
  for (const [variable, value] of Object.entries(environment)) {
    if (!variable.startsWith('QFAE_') || otherVariables.has(variable) || value === undefined) continue;
    const path = paths.get(variable);
    if (!path) throw new SettingsError(`${variable}: no such setting`);
    const last = path.at(-1)!;
    document.setIn(path, texts.has(last) || last.endsWith('File') ? value : parse(value));
    overridden.set(path.join('.'), variable);
  }
  return overridden;
}

/** `['http', 'port']` → `QFAE_HTTP_PORT`; capital letters inside a key start a new word. */
function variableName(path: string[]): string {
  return `QFAE_${path.map((key) => key.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()).join('_')}`;
}

/** The path of every leaf of the schema. */
function settingPaths(): string[][] {
  const paths = (schema: z.core.JSONSchema.BaseSchema, prefix: string[]): string[][] =>
    schema.properties
      ? Object.entries(schema.properties).flatMap(([key, child]) =>
          typeof child === 'object' ? paths(child, [...prefix, key]) : [],
        )
      : [prefix];
  return paths(z.toJSONSchema(settingsSchema, { io: 'input' }), []);
}

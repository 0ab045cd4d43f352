import type { Database } from './database.ts';

/**
 * Migrations in order, each a list of statements. A released migration is never changed; a new one is added
 * behind it.
 */
const migrations: string[][] = [
  [
    `create table study (
       study_instance_uid text primary key,
       attributes jsonb not null,
       stored_at timestamptz not null default now()
     )`,
    `create table series (
       series_instance_uid text primary key,
       study_instance_uid text not null references study on delete cascade,
       attributes jsonb not null
     )`,
    'create index series_study on series (study_instance_uid)',
    `create table instance (
       sop_instance_uid text primary key,
       series_instance_uid text not null references series on delete cascade,
       study_instance_uid text not null references study on delete cascade,
       sop_class_uid text not null,
       transfer_syntax_uid text not null,
       attributes jsonb not null,
       stored_at timestamptz not null default now()
     )`,
    'create index instance_series on instance (series_instance_uid)',
    'create index instance_study on instance (study_instance_uid)',

    // A study of which something arrived, until it has been quiet for long enough.
    `create table arrival (
       archive text not null,
       study_instance_uid text not null,
       changed_at timestamptz not null,
       primary key (archive, study_instance_uid)
     )`,

    // One row for each set of source instances that was asked to be scored. Its time is the time in the result.
    `create table scoring (
       id uuid primary key default gen_random_uuid(),
       archive text not null,
       study_instance_uid text not null,
       requested_at timestamptz not null,
       state text not null check (state in ('queued', 'running', 'scored', 'not-scored', 'failed')),
       step text,
       reason text,
       source_fingerprint text,
       result_identity text,
       bundle text,
       score jsonb,
       finished_at timestamptz,
       crashes integer not null default 0
     )`,
    'create index scoring_study on scoring (archive, study_instance_uid, requested_at desc)',
    // What we wrote, or may have written: known as ours until it is removed from the archive.
    `create table result_object (
       archive text not null,
       sop_instance_uid text not null,
       series_instance_uid text not null,
       study_instance_uid text not null,
       sop_class_uid text not null,
       scoring_id uuid not null,
       position integer not null,
       primary key (archive, sop_instance_uid)
     )`,
    'create index result_object_study on result_object (archive, study_instance_uid)',
    'create index result_object_scoring on result_object (scoring_id)',

    // Where a feed of changes was read up to.
    `create table feed (
       archive text primary key,
       position bigint,
       started_at timestamptz not null
     )`,
  ],
  [
    // What rules on the completeness of a study look at.
    'alter table arrival add column first_seen_at timestamptz not null default now()',
    'alter table arrival add column instances integer not null default 1',
    'alter table arrival add column source_ae_title text',
  ],

  [
    // What was scored: modality, dates and descriptions, as the worklist filters by them; nothing of the patient.
    `alter table scoring
       add column subject jsonb,
       add column profile text,
       add column slices jsonb`,

    // What readers say of a study; nothing is overwritten, the last entry counts.
    `create table feedback (
       id bigint generated always as identity primary key,
       archive text not null,
       study_instance_uid text not null,
       label text not null check (label in ('normal', 'abnormal', 'artefact', 'withdrawn')),
       reader text not null,
       comment text,
       given_at timestamptz not null default now()
     )`,
    'create index feedback_study on feedback (archive, study_instance_uid, id desc)',

    // What happened, for those who watch. Its order is that of transactions: numbers are not committed in order.
    `create table event (
       id bigint generated always as identity primary key,
       transaction xid8 not null default pg_current_xact_id(),
       at timestamptz not null default now(),
       type text not null,
       data jsonb not null
     )`,
    'create index event_order on event (transaction, id)',
    `create function note_scoring() returns trigger language plpgsql as $$
     declare
       row scoring := coalesce(new, old);
     begin
       if tg_op = 'UPDATE' and old.state = new.state and old.step is not distinct from new.step then
         return null;
       end if;
       insert into event (type, data) values ('study', jsonb_build_object(
         'archive', row.archive, 'studyInstanceUID', row.study_instance_uid, 'scoring', row.id,
         'status', case tg_op when 'DELETE' then 'dropped' else row.state end, 'step', row.step));
       return null;
     end $$`,
    `create trigger scoring_event after insert or update or delete on scoring
       for each row execute function note_scoring()`,
    `create function note_feedback() returns trigger language plpgsql as $$
     begin
       insert into event (type, data) values ('feedback', jsonb_build_object(
         'archive', new.archive, 'studyInstanceUID', new.study_instance_uid, 'label', new.label));
       return null;
     end $$`,
    `create trigger feedback_event after insert on feedback for each row execute function note_feedback()`,
  ],

  [
    // Who runs a scoring: a name for the process, and a mark of the one run that may still change the row.
    'alter table scoring add column worker text, add column run uuid, add column priority integer not null default 0',
    'alter table scoring drop constraint scoring_state_check',
    `alter table scoring add constraint scoring_state_check
       check (state in ('queued', 'running', 'scored', 'not-scored', 'failed', 'cancelled'))`,
    'create index scoring_newest on scoring (requested_at desc, id)',
    "create index scoring_unfinished on scoring (archive, study_instance_uid) where state in ('queued', 'running')",
  ],
  [
    // What a watched archive said it holds of recent studies, and how much of that is not ours.
    `create table watched_study (
       archive text not null,
       study_instance_uid text not null,
       study_date text not null,
       instances integer,
       sources integer,
       primary key (archive, study_instance_uid)
     )`,
  ],

  [
    // Which rule decided, and what it had to know beside the study itself.
    'alter table scoring add column rule text, add column source_ae_title text',
    // Files of rules that were taken over, for every process on this database; the last one is in force.
    `create table rule_book (
       id bigint generated always as identity primary key,
       version text not null,
       text text not null,
       since timestamptz not null default now()
     )`,
  ],
  // Which series is scored, and what of the study is not, with the reasons.
  ['alter table scoring add column selection jsonb'],

  [
    // Files of instances that have left the index: who removed them may have been killed, or run elsewhere.
    `create table discarded_file (
       sop_instance_uid text primary key,
       series_instance_uid text not null,
       study_instance_uid text not null,
       discarded_at timestamptz not null default now()
     )`,
    `create function note_discarded_file() returns trigger language plpgsql as $$
     begin
       if tg_op = 'INSERT' then
         delete from discarded_file where sop_instance_uid = new.sop_instance_uid;
       else
         insert into discarded_file values (old.sop_instance_uid, old.series_instance_uid, old.study_instance_uid)
           on conflict (sop_instance_uid) do update set discarded_at = now();
       end if;
       return null;
     end $$`,
    `create trigger instance_file after insert or delete on instance
       for each row execute function note_discarded_file()`,
  ],
  [
    // Our objects may be in several archives, rejected there, or accepted by one that answers no query.
    `alter table result_object
       add column accepted boolean not null default false,
       add column role text not null default 'result' check (role in ('result', 'rejected', 'note'))`,
    'create index result_object_uid on result_object (sop_instance_uid)',
  ],
  [
    // What QIDO-RS searches compare, by bytes: so an index serves equality, ranges, and patterns that begin with text.
    ...['00080020', '00080050', '00100020'].map(
      (tag) => `create index study_${tag} on study (((attributes #>> '{${tag},Value,0}')) collate "C")`,
    ),
    `create index series_modality on series (((attributes #>> '{00080060,Value,0}')) collate "C", study_instance_uid)`,
  ],
  [
    // Names are found by any three characters of theirs, where the server has pg_trgm; else all are looked through.
    `do $$ begin
       create extension if not exists pg_trgm;
       create index study_name on study using gin ((attributes #>> '{00100010,Value}') gin_trgm_ops);
     exception when insufficient_privilege or feature_not_supported or undefined_file then
       raise notice 'no index of names: %', sqlerrm;
     end $$`,
  ],
  // The ID that a study's scoring will have, from the first of it that arrives.
  ['alter table arrival add column scoring_id uuid not null default gen_random_uuid()'],
  [
    // Firings of the schedules of retraining, and what came of each.
    `create table retraining (
       id bigint generated always as identity primary key,
       schedule text not null,
       profile text not null,
       due_at timestamptz not null,
       state text not null check (state in ('running', 'done', 'skipped', 'failed')),
       attempt integer not null default 1,
       run text,
       reason text,
       bundle text,
       outcome text,
       finished_at timestamptz,
       unique (schedule, due_at)
     )`,
    'create table paused_schedule (schedule text primary key)',
    // What candidates said beside the bundle whose result was written.
    `create table shadow_score (
       scoring_id uuid not null references scoring on delete cascade,
       bundle text not null,
       score jsonb not null,
       scored_at timestamptz not null default now(),
       primary key (scoring_id, bundle)
     )`,
  ],
  [
    // What the study page draws: a row a scored slice, counted from 0. Nothing else needs these rows: they can be
    // deleted at any time, and go with their scoring.
    `create table anomaly_map (
       scoring_id uuid not null references scoring on delete cascade,
       slice integer not null,
       grid_to_slice jsonb not null,
       map bytea not null,
       reconstruction bytea not null,
       primary key (scoring_id, slice)
     )`,
  ],
  // The change at which a feed was read up to: by it, the feed of another database is told apart.
  ['alter table feed add column mark text'],
  [
    // Which scoring the worklist shows of a study, and the newest one where that is another: kept by the triggers.
    `create table shown_scoring (
       archive text not null,
       study_instance_uid text not null,
       scoring_id uuid,
       newer_id uuid,
       primary key (archive, study_instance_uid)
     )`,
    'create unique index shown_scoring_id on shown_scoring (scoring_id)',
    // Its plans are kept as long as the connection, also those that were made while the table was small.
    `create function choose_shown_scoring() returns trigger language plpgsql set enable_seqscan = off as $$
     declare
       row scoring := coalesce(new, old);
       shown uuid;
     begin
       -- The row is locked first: of two changes at once the second one sees what the first one did.
       insert into shown_scoring values (row.archive, row.study_instance_uid)
         on conflict (archive, study_instance_uid) do update set newer_id = shown_scoring.newer_id;
       -- An answer, be it that the study is not scored, stays until the next one.
       select id into shown from scoring where archive = row.archive and study_instance_uid = row.study_instance_uid
         order by state in ('scored', 'not-scored') desc, state = 'failed' desc, requested_at desc, id limit 1;
       if shown is null then
         delete from shown_scoring where archive = row.archive and study_instance_uid = row.study_instance_uid;
       else
         update shown_scoring set scoring_id = shown, newer_id = nullif(
             (select id from scoring where archive = row.archive and study_instance_uid = row.study_instance_uid
              order by requested_at desc, id limit 1), shown)
           where archive = row.archive and study_instance_uid = row.study_instance_uid;
       end if;
       return null;
     end $$`,
    `create trigger shown_scoring after insert or delete or update of state on scoring
       for each row execute function choose_shown_scoring()`,
    `insert into shown_scoring
       select archive, study_instance_uid, shown, nullif(newest, shown) from (
         select distinct on (archive, study_instance_uid) archive, study_instance_uid, id as shown,
           first_value(id) over (partition by archive, study_instance_uid order by requested_at desc, id) as newest
         from scoring
         order by archive, study_instance_uid, state in ('scored', 'not-scored') desc, state = 'failed' desc,
           requested_at desc, id) study`,
    // The worklist's orders.
    `create index scoring_percentile on scoring (((score ->> 'percentile')::float) desc nulls last,
       ((score ->> 'rawScore')::float) desc nulls last, requested_at desc)`,
    `create index scoring_priority on scoring (priority desc, ((score ->> 'percentile')::float) desc nulls last,
       requested_at desc)`,
    "create index scoring_study_date on scoring ((subject ->> 'studyDate') desc nulls last, requested_at desc)",
  ],
  // Whether a scoring of the study was forgotten by retention: a study without any waits to be scored.
  [
    'alter table study add column scoring_forgotten boolean not null default false',
    `update study s set scoring_forgotten = true
     where not exists (select 1 from scoring c where c.archive = 'local' and c.study_instance_uid = s.study_instance_uid)
       and exists (select 1 from result_object r where r.archive = 'local' and r.study_instance_uid = s.study_instance_uid)`,
  ],
];

/** Held while the schema is changed; any number that no one else takes. */
const migrationLock = 7_386_532;

/**
 * Brings the schema to the newest version, all or nothing. Of several processes that start at once, one does it.
 *
 * @throws Error if the database was written by a newer version of this software.
 */
export async function migrate(database: Database): Promise<void> {
  await database.transaction(async (transaction) => {
    await transaction.query('select pg_advisory_xact_lock($1)', [migrationLock]);
    await transaction.query('create table if not exists schema_version (version integer not null)');
    const [row] = await transaction.query<{ version: number }>('select version from schema_version');
    const version = row?.version ?? 0;
    if (version > migrations.length) {
      throw new Error(
        `the database has schema version ${version}, this software knows ${migrations.length}: install the newer software`,
      );
    }
    for (const statement of migrations.slice(version).flat()) await transaction.query(statement);
    await transaction.query('delete from schema_version');
    await transaction.query('insert into schema_version values ($1)', [migrations.length]);
  });
}

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import type { DicomJson } from '../dicom/dicom-json.ts';
import { makeCertificate } from '../fixtures/certificate.ts';
import { writeCTSeries } from '../fixtures/dicom-series.ts';
import { startNodeProcess, startWorkerProcess } from '../fixtures/node-process.ts';
import { startPostgres } from '../fixtures/postgres.ts';
import { describeWith } from '../fixtures/required-program.ts';
import { stow } from '../fixtures/stow.ts';
import { until } from '../fixtures/until.ts';
import { scoredStudy } from '../fixtures/worklist.ts';
import { addBundle, bundleIDs, openBundle, promote } from '../inference/bundle/registry.ts';
import type { Role } from './access/role.ts';
import { createToken, tokenFolder } from './access/token.ts';
import { openPostgres } from './database/postgres.ts';
import { listJobs } from './jobs/jobs.ts';
import { createLog } from './log.ts';

const comprehensive3D = '1.2.840.10008.5.1.4.1.1.88.34';
const studies = 8;

describeWith(
  ['/usr/lib/postgresql', 'openssl'],
  'two workers beside a node that does not score itself and asks who they are',
  () => {
    test('share the queue; of what a killed one left, the other loses nothing and doubles nothing', async () => {
      const folder = mkdtempSync(join(tmpdir(), 'qfae-workers-'));
      const server = await startPostgres();
      const closers: (() => Promise<unknown>)[] = [() => server.remove()];
      try {
        const common = { QFAE_DATABASE_URL: server.url, QFAE_JOBS_HEARTBEAT_SECONDS: '10' };
        const data = join(folder, 'node');
        const { token } = await createToken(tokenFolder(data), {
          name: 'worker',
          roles: ['reader', 'sender'],
        });
        const headers = { authorization: `Bearer ${token}` };
        const node = await startNodeProcess({
          ...common,
          QFAE_DATA: data,
          QFAE_ACCESS_AUTHENTICATION: 'on',
          QFAE_ARRIVAL_QUIET_SECONDS: '0.5',
          QFAE_JOBS_WORK: 'false',
        });
        closers.push(() => node.stop());
        await expect(startNodeProcess(common)).rejects.toThrow(
          /another node has the database: .*workers \(qfae worker\)/,
        );
        const database = await openPostgres(server.url, createLog('silent'));
        closers.push(() => database.close());
        const startWorker = (name: string) =>
          startWorkerProcess({
            ...common,
            ...{ QFAE_NODE_URL: node.url, QFAE_NODE_TOKEN: token, QFAE_DATA: join(folder, name) },
          });
        const [killed, other] = await Promise.all([startWorker('killed'), startWorker('other')]);
        closers.push(
          () => other.stop(),
          () => killed.stop('SIGKILL'),
        );

        const uids = await Promise.all(
          Array.from({ length: studies }, async (_, i) => {
            const name = `Worker${i}`;
            const series = await writeCTSeries(join(folder, name), {
              name,
              slices: 4,
              rows: 48,
              columns: 48,
            });
            const objects = series.map(({ bytes }) => bytes);
            expect((await stow(node.dicomWebUrl, objects, { headers })).status).toBe(200);
            return series[0].studyInstanceUID;
          }),
        );
        const running = async () => {
          const jobs = await listJobs(database, { states: ['running'], limit: 10 });
          return jobs.find(({ worker, step }) => worker!.endsWith(killed.data) && step !== 'query');
        };
        // Stopped first: between a look and the end of the process, the job might come to its own end.
        const left = await until('a job that runs in a process that stands still', async () => {
          if (!(await running())) return;
          killed.process.kill('SIGSTOP');
          const job = await running();
          if (!job) killed.process.kill('SIGCONT');
          return job;
        });
        await killed.stop('SIGKILL');

        for (const uid of uids) {
          const { status, results } = await scoredStudy(node.url, uid, undefined, 300, headers);
          expect(status).toBe('scored');
          const answer = await fetch(`${node.dicomWebUrl}/studies/${uid}/instances`, { headers });
          const present = (await answer.json()) as DicomJson[];
          expect(present).toHaveLength(4 + results.length);
          const reports = present.filter((object) => object['00080016'].Value![0] === comprehensive3D);
          expect(reports).toHaveLength(1);
        }
        const jobs = await listJobs(database, { limit: 100 });
        expect(jobs.find(({ id }) => id === left.id)).toMatchObject({
          state: 'scored',
          worker: expect.stringContaining(other.data),
        });
        // Results that workers send to the node are no arrival: nothing is queued once a study has its result.
        await sleep(2000);
        const queued = node.log().filter(({ msg }) => String(msg).includes('waits to be scored'));
        for (const { time, studyInstanceUID } of queued) {
          const { finishedAt } = jobs.find((job) => job.studyInstanceUID === studyInstanceUID)!;
          expect(time).toBeLessThan(finishedAt!.getTime());
        }
        // The node has scored nothing itself: what it measures are the workers' stages.
        const metrics = await (await fetch(`${node.url}/metrics`, { headers })).text();
        const value = (line: string) =>
          Number(
            metrics
              .split('\n')
              .find((text) => text.startsWith(line))
              ?.split(' ')
              .at(-1),
          );
        expect(value('qfae_studies_total{state="scored"')).toBe(studies);
        expect(value('qfae_stage_seconds_count{stage="score"}')).toBeGreaterThanOrEqual(studies);
        expect(value('qfae_jobs{state="scored"}')).toBe(studies);
        const log = JSON.stringify([node.log(), killed.log(), other.log()]);
        expect(log).not.toContain('not-to-be-logged');
        expect(log).not.toContain(token.slice(-43));
      } finally {
        for (const close of closers.reverse()) await close().catch(() => undefined);
        rmSync(folder, { recursive: true });
      }
    }, 600_000);

    test('score with the bundles of a node that encrypts and asks who they are; what it refuses is told', async () => {
      const folder = mkdtempSync(join(tmpdir(), 'qfae-worker-bundle-'));
      const { certificateFile, keyFile } = makeCertificate(folder, 'node', 'IP:127.0.0.1');
      const trusted = getCACertificates();
      setDefaultCACertificates([...trusted, readFileSync(certificateFile, 'utf8')]); // for what the test asks
      const server = await startPostgres();
      const closers: (() => Promise<unknown>)[] = [() => server.remove()];
      try {
        const common = { QFAE_DATABASE_URL: server.url, QFAE_BUNDLE: 'only-at-the-node' };
        const node = await startNodeProcess({
          ...common,
          QFAE_ACCESS_AUTHENTICATION: 'on',
          QFAE_ARRIVAL_QUIET_SECONDS: '0.5',
          QFAE_JOBS_WORK: 'false',
          QFAE_HTTP_TLS_CERTIFICATE_FILE: certificateFile,
          QFAE_HTTP_TLS_KEY_FILE: keyFile,
        });
        closers.push(() => node.stop());
        const database = await openPostgres(server.url, createLog('silent'));
        closers.push(() => database.close());
        const token = async (name: string, ...roles: Role[]) =>
          (await createToken(tokenFolder(node.data), { name, roles })).token;
        const { id: _, ...untrained } = await openBundle(node.data, 'untrained');
        const { id } = await addBundle(node.data, { ...untrained, name: 'only-at-the-node' });
        const trust = { NODE_EXTRA_CA_CERTS: certificateFile };
        const startWorker = (nodeToken: string, environment: Record<string, string> = trust) =>
          startWorkerProcess({
            ...common,
            ...environment,
            QFAE_NODE_URL: node.url,
            QFAE_NODE_TOKEN: nodeToken,
            QFAE_DATA: join(folder, 'worker'),
          });
        await expect(startWorker('wrong')).rejects.toThrow(
          /the node answered 401 at .*: the token is not valid/,
        );
        await expect(startWorker(await token('sender', 'sender'))).rejects.toThrow(
          /403 .*needs the role reader/,
        );
        const workerToken = await token('worker', 'reader', 'sender');
        const trustless = await startWorker(workerToken, {});
        expect(JSON.stringify(trustless.log())).toMatch(
          /the node does not answer at https:.*: DEPTH_ZERO_SELF_SIGNED_CERT/,
        );
        await trustless.stop();
        expect(await bundleIDs(trustless.data)).not.toContain(id);
        const worker = await startWorker(workerToken);
        closers.push(() => worker.stop());
        expect(await bundleIDs(worker.data)).toContain(id);

        const next = await addBundle(node.data, { ...untrained, name: 'only-at-the-node', title: 'Next' });
        await promote(node.data, next.id);
        const headers = { authorization: `Bearer ${await token('modality', 'reader', 'sender')}` };
        const series = await writeCTSeries(join(folder, 'ct'), {
          name: 'Asked',
          slices: 2,
          rows: 48,
          columns: 48,
        });
        const sent = await stow(
          node.dicomWebUrl,
          series.map(({ bytes }) => bytes),
          { headers },
        );
        expect(sent.status).toBe(200);
        let job;
        while (!(job = (await listJobs(database, { states: ['scored', 'failed'], limit: 1 })).at(0)))
          await sleep(200);
        expect(job).toMatchObject({ state: 'scored', bundle: next.id });
        const study = `${node.dicomWebUrl}/studies/${series[0].studyInstanceUID}`;
        const present = (await (await fetch(`${study}/instances`, { headers })).json()) as DicomJson[];
        const reports = present.filter((object) => object['00080016'].Value![0] === comprehensive3D);
        expect(reports).toHaveLength(1);
      } finally {
        setDefaultCACertificates(trusted);
        for (const close of closers.reverse()) await close().catch(() => undefined);
        rmSync(folder, { recursive: true });
      }
    }, 600_000);
  },
);

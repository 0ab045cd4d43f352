import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { request } from 'undici';
import { freePort } from '../../fixtures/free-port.ts';
import { startNodeProcess, type NodeProcess } from '../../fixtures/node-process.ts';
import { startOidcProvider, type OidcProviderDouble } from '../../fixtures/oidc-provider.ts';
import { describeWith } from '../../fixtures/required-program.ts';

const configuration = fileURLToPath(new URL('../../packaging/apache-oidc.conf', import.meta.url));
const modules = '/usr/lib/apache2/modules';

describeWith(
  ['/usr/sbin/apache2', `${modules}/mod_auth_openidc.so`],
  'browsers that sign in at an OpenID Connect provider, by Apache before the node',
  () => {
    let folder: string;
    let provider: OidcProviderDouble;
    let node: NodeProcess;
    let url: string;
    const closers: (() => unknown)[] = [];

    beforeAll(async () => {
      folder = mkdtempSync(join(tmpdir(), 'qfae-proxy-'));
      closers.push(() => {
        rmSync(folder, { recursive: true });
      });
      provider = await startOidcProvider();
      closers.push(() => {
        provider.close();
      });
      node = await startNodeProcess({
        QFAE_HTTP_BEHIND_PROXY: 'true',
        QFAE_ACCESS_OIDC_ISSUER: provider.issuer,
        QFAE_ACCESS_OIDC_AUDIENCE: 'qfae',
        QFAE_JOBS_WORK: 'false',
      });
      closers.push(() => node.stop());
      url = await startApache();
    }, 300_000);

    afterAll(async () => {
      for (const close of closers.reverse()) await close();
    });

    async function startApache(): Promise<string> {
      const port = await freePort();
      for (const secret of ['client-secret', 'passphrase']) {
        writeFileSync(join(folder, `oidc-${secret}`), 'not-to-be-logged', { mode: 0o600 });
      }
      const needed = [
        ...['mpm_event', 'authn_core', 'authz_core', 'authz_user', 'headers', 'proxy', 'proxy_http'],
        'auth_openidc',
      ];
      writeFileSync(
        join(folder, 'apache.conf'),
        `${needed.map((name) => `LoadModule ${name}_module ${modules}/mod_${name}.so`).join('\n')}
ServerName 127.0.0.1
ServerRoot ${folder}
DefaultRuntimeDir ${folder}
PidFile ${folder}/pid
ErrorLog ${folder}/error.log
User www-data
Group www-data
Listen 127.0.0.1:${port}
Define QFAE_PUBLIC http://127.0.0.1:${port}
Define QFAE_NODE ${node.url}
Define QFAE_ISSUER ${provider.issuer}
Define QFAE_CLIENT qfae
Define QFAE_SECRETS ${folder}
Include ${configuration}
`,
      );
      const apache = spawn('/usr/sbin/apache2', ['-DFOREGROUND', '-f', join(folder, 'apache.conf')], {
        stdio: 'inherit',
      });
      closers.push(async () => {
        if (apache.exitCode !== null) return;
        apache.kill('SIGTERM');
        await once(apache, 'exit');
      });
      const address = `http://127.0.0.1:${port}`;
      while (!(await fetch(address, { redirect: 'manual' }).catch(() => undefined))) {
        if (apache.exitCode !== null) throw new Error('apache2 does not start');
        await sleep(100);
      }
      return address;
    }

    interface Sent {
      method?: 'POST';
      headers?: Record<string, string>;
      body?: string;
    }

    /** A browser as far as it matters here: its pages follow redirects, and it keeps the proxy's cookies. */
    function openBrowser() {
      const cookies = new Map<string, string>();
      return async (path: string, { headers, ...init }: Sent = {}) => {
        let address = new URL(path, url).href;
        const visited: string[] = [];
        for (;;) {
          visited.push(new URL(address).origin);
          const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ');
          const answer = await request(address, {
            ...init,
            headers: { accept: 'text/html', ...headers, ...(address.startsWith(url) && { cookie }) },
          });
          for (const set of [answer.headers['set-cookie'] ?? []].flat()) {
            const [, name, value] = /^([^=]+)=([^;]*)/.exec(set)!;
            cookies.set(name, value);
          }
          const { location } = answer.headers;
          const body = await answer.body.text();
          if (typeof location !== 'string') return { status: answer.statusCode, body, visited };
          address = new URL(location, address).href;
        }
      };
    }

    test('nobody comes past the proxy who has not signed in; who has bears the subject and roles of the provider', async () => {
      const browse = openBrowser();
      const page = await browse('/');
      expect(page.visited).toEqual([url, provider.issuer, url, url]);
      expect([page.status, page.body.includes('<title>')]).toEqual([200, true]);

      const session = async (headers = {}) =>
        JSON.parse((await browse('/api/v1/session', { headers })).body) as unknown;
      const jane = { required: true, name: 'jane', roles: ['reader'] };
      expect(await session()).toEqual(jane);
      expect(await session({ authorization: 'Bearer qfae_0_x' })).toEqual(jane);
      expect((await browse('/api/v1/studies')).status).toBe(200);
      const post = (origin: string) =>
        browse('/api/v1/studies/local/1.2.3/feedback', {
          method: 'POST',
          headers: { 'content-type': 'application/json', origin },
          body: JSON.stringify({ label: 'normal' }),
        });
      expect((await post(url)).status).toBe(404); // no such study, which a reader may ask for
      expect((await post('https://evil.example')).status).toBe(403);
      const admins = { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{}' } as const;
      expect((await browse('/api/v1/rescore', admins)).status).toBe(403);

      // What a page asks for without a session is refused, not led to the provider.
      expect((await fetch(`${url}/api/v1/studies`)).status).toBe(401);
      expect((await fetch(`${node.url}/api/v1/studies`)).status).toBe(401);
      const asJane = await fetch(`${node.url}/api/v1/studies`, { headers: { 'OIDC-claim-sub': 'jane' } });
      expect(asJane.status).toBe(401);
    }, 300_000);
  },
);

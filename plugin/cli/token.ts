import { Command, InvalidArgumentError, Option } from 'commander';
import { auditCommand } from '../access/audit-log.ts';
import { roles, type Role } from '../access/role.ts';
import { createToken, listTokens, revokeToken, tokenFolder } from '../access/token.ts';
import { openDataFolder } from '../data-folder/data-folder.ts';
import { loadSettings } from '../settings.ts';
import { wholeNumber } from './arguments.ts';

interface CreateOptions {
  role: Role[];
  days?: number;
  json?: true;
}

const dayMs = 24 * 3600_000;

/** `qfae token`: who may use the node. A running node heeds every change at once. */
export function tokenCommand(): Command {
  const command = new Command('token').exitOverride().description('make, list and revoke bearer tokens');

  command
    .command('create')
    .description('make a token; it is shown once')
    .argument('<name>', 'who will use it, as the audit log shall name it', tokenName)
    .addOption(
      new Option('--role <role...>', 'what may be done with it').choices(roles).makeOptionMandatory(),
    )
    .option('--days <n>', 'how long it is valid; default: until it is revoked', wholeNumber)
    .option('--json', 'JSON lines on stdout')
    .action(async (name: string, { role, days, json }: CreateOptions) => {
      const { root } = openDataFolder(loadSettings().data);
      const { token, entry } = await createToken(tokenFolder(root), {
        name,
        roles: [...new Set(role)],
        ...(days !== undefined && { expiresAt: new Date(Date.now() + days * dayMs) }),
      });
      auditCommand(root, `token create ${entry.id}`);
      console.log(json ? JSON.stringify({ type: 'token', token, ...entry }) : token);
    });

  command
    .command('list')
    .description('tokens that were made and not revoked')
    .option('--json', 'JSON lines on stdout')
    .action(async ({ json }: { json?: true }) => {
      for (const entry of await listTokens(tokenFolder(openDataFolder(loadSettings().data).root))) {
        const { id, name, roles, expiresAt } = entry;
        const validity = expiresAt === null ? 'until revoked' : `until ${expiresAt}`;
        console.log(
          json
            ? JSON.stringify({ type: 'token', ...entry })
            : `${id}  ${roles.join(',')}  ${validity}  ${name}`,
        );
      }
    });

  command
    .command('revoke')
    .description('refuse tokens from now on')
    .argument('<ids...>')
    .action(async (ids: string[]) => {
      const { root } = openDataFolder(loadSettings().data);
      for (const id of ids) {
        await revokeToken(tokenFolder(root), id);
        auditCommand(root, `token revoke ${id}`);
      }
    });
  return command;
}

function tokenName(text: string): string {
  if (/^[\p{L}\p{N}][\p{L}\p{N} ._@-]{0,63}$/u.test(text)) return text;
  throw new InvalidArgumentError('1 to 64 letters, digits, spaces and ._@-');
}

import { placeOf, readYaml } from '../yaml-file.ts';
import { rulesSchema, type Rule } from './schema.ts';

/** What rules may name. */
export interface RulesContext {
  /** Archives of the settings. */
  archives: readonly string[];
  /** Those of them that studies come from. */
  sources: readonly string[];
}

/** Rules without a file: every study is scored as the settings say. */
export const defaultRules: Rule[] = rulesSchema.parse({ rules: [{ name: 'every study' }] }).rules;

/**
 * Reads a file of rules.
 *
 * @param file its name in the problems.
 * @param context what the archives that it names are checked against; not checked, if left out.
 * @returns the rules, or every problem with file, line and reason.
 */
export function readRules(
  file: string,
  text: string,
  context?: RulesContext,
): { rules: Rule[] } | { problems: string[] } {
  const yaml = readYaml(file, text);
  if ('problems' in yaml) return yaml;
  const parsed = rulesSchema.safeParse(yaml.document.toJS() ?? {});
  const { sources, archives } = context ?? {};
  const issues = parsed.success
    ? parsed.data.rules.flatMap((rule, index) => [
        ...unknownNames(rule.from, sources, ['rules', index, 'from'], 'studies come from'),
        ...unknownNames(rule.to, archives, ['rules', index, 'to'], 'there are'),
      ])
    : parsed.error.issues.flatMap(innermost);
  if (parsed.success && issues.length === 0) return { rules: parsed.data.rules };
  return {
    problems: issues.map(
      (issue) => `${placeOf(yaml, issue)}: ${issue.path.join('.') || 'rules'}: ${issue.message}`,
    ),
  };
}

interface Issue {
  path: PropertyKey[];
  message: string;
}

function unknownNames(
  names: readonly string[] = [],
  known: readonly string[] = names,
  path: PropertyKey[],
  what: string,
): Issue[] {
  return names
    .filter((name) => !known.includes(name))
    .map((name) => ({ path, message: `no archive ${name}; ${what}: ${known.join(', ')}` }));
}

/** A union says only that nothing fits; what is wrong stands in the branch that was meant: the one of objects. */
function innermost(issue: Issue & { errors?: Issue[][] }): Issue[] {
  const meant = issue.errors?.find((issues) =>
    issues.every(({ path, message }) => path.length > 0 || /key|give/i.test(message)),
  );
  if (!meant) return [issue];
  return meant.flatMap(({ path, ...inner }) => innermost({ ...inner, path: [...issue.path, ...path] }));
}

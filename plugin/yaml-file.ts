import { LineCounter, parseDocument, type Document } from 'yaml';
import type { z } from 'zod';

/** A YAML file's text with the lines of its parts. */
export interface YamlFile {
  document: Document.Parsed;
  lines: LineCounter;
  file: string;
}

/**
 * Reads YAML; returns the document, or one line a problem, each with its place.
 *
 * @param file its name in the problems.
 */
export function readYaml(file: string, text: string): YamlFile | { problems: string[] } {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  if (document.errors.length === 0) return { document, lines, file };
  return {
    problems: document.errors.map((error) => `${file}:${lines.linePos(error.pos[0]).line}: ${error.message}`),
  };
}

/** File and line of the innermost node on an issue's path that the file holds. */
export function placeOf(
  { document, lines, file }: YamlFile,
  { path }: Pick<z.core.$ZodIssue, 'path'>,
): string {
  for (let length = path.length; length > 0; length--) {
    const node = document.getIn(path.slice(0, length), true) as
      { range?: [number, number, number] } | undefined;
    if (node?.range) return `${file}:${lines.linePos(node.range[0]).line}`;
  }
  return file;
}

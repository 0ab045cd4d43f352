import { Command } from 'commander';
import { DicomPool } from '../../dicom/pool.ts';
import { dciodvfyFindings } from '../../dicom/validate/dciodvfy.ts';
import { templateFindings } from '../../dicom/validate/template-check.ts';

/** `qfae validate`: is a DICOM object what it says it is? */
export function validateCommand(): Command {
  return new Command('validate')
    .description("check DICOM objects: dciodvfy's findings, if installed, and the templates of reports")
    .argument('<files...>')
    .option('--json', 'JSON lines on stdout')
    .action(async (files: string[], options: { json?: true }) => {
      const pool = new DicomPool({ threads: 1 });
      const print = (line: object, text: string) => {
        console.log(options.json ? JSON.stringify(line) : text);
      };
      try {
        for (const file of files) {
          const { dataset, sopClassUID } = await pool.readHeader(file);
          const iod = await dciodvfyFindings(file);
          const findings = [...(iod ?? []), ...templateFindings(dataset)];
          for (const finding of findings) {
            const { source, severity, position, message } = finding;
            const place = position === '' ? '' : ` at ${position}`;
            print(
              { type: 'finding', file, ...finding },
              `${file}: ${severity}${place}: ${message} [${source}]`,
            );
          }
          const errors = findings.filter(({ severity }) => severity === 'error').length;
          if (errors > 0) process.exitCode = 1;
          const checkedBy = [...(iod ? ['dciodvfy'] : []), 'template'];
          const missing = iod ? '' : '; dciodvfy (dicom3tools) is not installed, so the IOD was not checked';
          print(
            { type: 'validation', file, sopClassUID, checkedBy, errors, warnings: findings.length - errors },
            `${file}: ${errors} errors, ${findings.length - errors} warnings${missing}`,
          );
        }
      } finally {
        await pool.close();
      }
    });
}

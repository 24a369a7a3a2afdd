/** A line of a program without what differs from run to run: times, paths, names of tables, numbers. */
export const lineShape = (line: string): string =>
  line
    .replace(/^\.?\d{6} \d\d:\d\d:\d\d /, '')
    .replace(/^\[\d\d\] +/, '')
    .replaceAll(/`[^`]*`/g, 'NAME')
    .replaceAll(/(?<![\w./:])\w+\/[\w@#.-]+/g, 'NAME')
    .replaceAll(/\.{0,2}\/[^\s'"),;]*/g, 'PATH')
    .replaceAll(/\b(ibdata1|ib_logfile\d+|ib_buffer_pool|xtrabackup_\w+|backup-my\.cnf)(\.\w+)*/g, 'FILE')
    .replaceAll(/(?<!\w)'[^']*'/g, "'…'")
    .replaceAll(/user: \w+/g, 'user: …')
    .replaceAll(/\d+\.\d+\.\d+(-log)?/g, 'VERSION')
    .replaceAll(/0x[0-9a-f]+|\d+/g, 'N')
    .replaceAll(/(N )+N?/g, 'N ')
    .trim();

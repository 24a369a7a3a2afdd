import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Match, type Template } from 'aws-cdk-lib/assertions';
import { beforeAll, describe, expect, it } from 'vitest';
import { loadConfig as loadApplyCluster } from '#functions/apply-cluster/config.ts';
import { loadConfig as loadAskHost } from '#functions/ask-host/config.ts';
import { loadConfig as loadPlanBackup } from '#functions/plan-backup/config.ts';
import { loadConfig as loadPlanRestore } from '#functions/plan-restore/config.ts';
import { loadConfig as loadQueryCatalog } from '#functions/query-catalog/config.ts';
import { loadConfig as loadRecordBackup } from '#functions/record-backup/config.ts';
import { loadConfig as loadReportCommandEnd } from '#functions/report-command-end/config.ts';
import { loadConfig as loadReportStaleClusters } from '#functions/report-stale-clusters/config.ts';
import { loadConfig as loadRewrapKeys } from '#functions/rewrap-keys/config.ts';
import { loadConfig as loadSettleRun } from '#functions/settle-run/config.ts';
import { loadConfig as loadShredKeys } from '#functions/shred-keys/config.ts';
import { SYNTH_MILLISECONDS, synthesize } from './synthesize.ts';

const loaders = {
  'plan-backup': loadPlanBackup,
  'plan-restore': loadPlanRestore,
  'ask-host': loadAskHost,
  'record-backup': loadRecordBackup,
  'settle-run': loadSettleRun,
  'report-command-end': loadReportCommandEnd,
  'apply-cluster': loadApplyCluster,
  'query-catalog': loadQueryCatalog,
  'report-stale-clusters': loadReportStaleClusters,
  'rewrap-keys': loadRewrapKeys,
  'shred-keys': loadShredKeys,
} as const;
const folders = Object.keys(loaders) as (keyof typeof loaders)[];

let template: Template;

beforeAll(async () => {
  ({ controlPlane: template } = await synthesize({ heartbeatSeconds: 240 }));
}, SYNTH_MILLISECONDS);

const environmentOf = (folder: string): Record<string, string> => {
  const fn = Object.values(template.findResources('AWS::Lambda::Function')).find(
    ({ Properties }) => Properties.FunctionName === `redoubt-${folder}`,
  );
  // What CloudFormation resolves is an ARN where the variable is called one.
  return Object.fromEntries(
    Object.entries(fn?.Properties.Environment.Variables ?? {}).map(([name, value]) => [
      name,
      typeof value === 'string' ? value : name.endsWith('_ARN') ? 'arn:resolved' : 'resolved',
    ]),
  );
};

describe('each function', () => {
  it.each(folders)('%s finds every variable it reads', (folder) => {
    expect(() => loaders[folder](environmentOf(folder))).not.toThrow();
  });

  it.each(folders)('%s has a handler of that name', (folder) => {
    expect(existsSync(join(import.meta.dirname, '..', '..', 'functions', folder, 'handler.ts'))).toBe(true);
  });

  it('runs Node 24 on arm64, traced, with a log that ends', () => {
    template.allResourcesProperties('AWS::Lambda::Function', {
      Runtime: 'nodejs24.x',
      Architectures: ['arm64'],
      TracingConfig: { Mode: 'Active' },
      LoggingConfig: { LogGroup: Match.anyValue() },
    });
    template.allResourcesProperties('AWS::Logs::LogGroup', { RetentionInDays: 90 });
  });

  it('says in its traces and logs which it is', () => {
    for (const folder of folders) expect(environmentOf(folder).POWERTOOLS_SERVICE_NAME).toBe(folder);
  });

  it('takes the heartbeat from the configuration', () => {
    expect(loadPlanBackup(environmentOf('plan-backup')).heartbeatSeconds).toBe(240);
  });
});

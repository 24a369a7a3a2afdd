import { readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type App, Validations } from 'aws-cdk-lib';
import { PolicyStatement, Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { AwsSolutionsChecks } from 'cdk-nag';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { redoubtApp, SYNTH_MILLISECONDS } from './synthesize.ts';

interface Report {
  readonly pluginReports: readonly {
    readonly pluginName: string;
    readonly violations: readonly { readonly ruleName: string; readonly violatingConstructs: readonly unknown[] }[];
  }[];
}

/** What AwsSolutions finds in the app. */
const findings = (app: App): readonly string[] => {
  Validations.of(app).addPlugins(new AwsSolutionsChecks(app));
  const error = vi.spyOn(console, 'error').mockImplementation(() => {});
  const before = process.exitCode;
  try {
    app.synth();
  } catch {
    // Findings end the synthesis, after the report is written.
  } finally {
    process.exitCode = before;
    error.mockRestore();
  }
  const report = JSON.parse(readFileSync(join(app.outdir, 'validation-report.json'), 'utf8')) as Report;
  const nag = report.pluginReports.find(({ pluginName }) => pluginName === 'AwsSolutions');
  return (nag?.violations ?? []).map(({ ruleName }) => ruleName);
};

const directories: string[] = [];

const newApp = async () => {
  const made = await redoubtApp({ config: { alarmEmail: 'somebody@example.com' }, withRulesOfCdk: true });
  directories.push(made.directory);
  return made;
};

afterEach(async () => {
  for (const directory of directories.splice(0)) await rm(directory, { recursive: true });
});

describe('the AwsSolutions rules', { timeout: SYNTH_MILLISECONDS }, () => {
  it('find nothing that is not explained', async () => {
    const { app } = await newApp();
    expect(findings(app)).toEqual([]);
  });

  it('would find a wildcard that nobody explained', async () => {
    const { app, controlPlane } = await newApp();
    const role = new Role(controlPlane, 'Careless', { assumedBy: new ServicePrincipal('lambda.amazonaws.com') });
    role.addToPolicy(new PolicyStatement({ actions: ['s3:GetObject'], resources: ['*'] }));
    expect(findings(app)).toEqual([expect.stringContaining('AwsSolutions-IAM5[Resource::*]')]);
  });

  it('are acknowledged one finding at a time, each with its reason in a sentence', async () => {
    const { app } = await newApp();
    const acknowledged = app.node
      .findAll()
      .flatMap(({ node }) => node.metadata)
      .filter(({ type }) => type === Validations.ACKNOWLEDGED_RULES_METADATA_KEY)
      .flatMap(({ data }) => Object.entries(data as Record<string, unknown>));
    expect(acknowledged.length).toBeGreaterThan(10);
    for (const [id, reason] of acknowledged) {
      expect(id).toMatch(/AwsSolutions-(IAM5\[Resource::.+\]|S1)$/);
      expect(String(reason).split(' ').length, `${id}: ${reason}`).toBeGreaterThan(4);
    }
  });
});

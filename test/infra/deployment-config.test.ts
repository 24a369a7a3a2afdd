import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { deploymentConfigSchema, loadDeploymentConfig } from '#infra/deployment-config.ts';

const example = join(import.meta.dirname, '..', '..', 'redoubt.config.json.example');

describe('the configuration of a deployment', () => {
  it('has a default for everything', () => {
    expect(loadDeploymentConfig('/no/such/file')).toMatchObject({ name: 'redoubt', multiRegionKey: false });
  });

  it('has an example that is valid and shows every choice', () => {
    const shown = JSON.parse(readFileSync(example, 'utf8'));
    expect(loadDeploymentConfig(example)).toEqual(shown);
    expect(Object.keys(shown).sort()).toEqual(Object.keys(deploymentConfigSchema.shape).sort());
  });

  it('refuses a misspelt choice by its name', () => {
    expect(() => deploymentConfigSchema.parse({ objectLok: { mode: 'compliance', days: 1 } })).toThrow(/objectLok/);
  });

  it('refuses a name that CloudFormation would refuse later', () => {
    for (const name of ['Redoubt', '1st', 'a', 'with_underscore', 'much-too-long-for-a-name'])
      expect(deploymentConfigSchema.safeParse({ name }).success, name).toBe(false);
  });
});

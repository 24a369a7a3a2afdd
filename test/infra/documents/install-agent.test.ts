import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { errorCodeOfExit } from '#core/errors.ts';
import { installAgentDocument } from '#infra/documents/install-agent.ts';
import { runScript } from './run-script.ts';

let root: string;
let directory: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'redoubt-install-agent-'));
  directory = join(root, 'opt', 'redoubt');
});

afterEach(() => {
  rmSync(root, { recursive: true });
});

const agentOf = (version: string, exit = 0) => `#!/bin/sh\necho ${version}\nexit ${exit}\n`;

/** Installs `content` as `version`, after a download that brought `downloaded`. */
const install = (version: string, content = agentOf(version), downloaded = content) => {
  const sha256 = createHash('sha256').update(content).digest('hex');
  // Where the SSM agent downloads to is where it runs the script.
  const downloads = mkdtempSync(join(root, 'downloads-'));
  writeFileSync(join(downloads, 'redoubt-agent'), downloaded);
  const document = installAgentDocument({ url: 'https://s3.example/agent', sha256, version });
  return { ...runScript(document, { AgentDirectory: directory }, downloads), downloads };
};

const current = () => readFileSync(join(directory, 'current', 'redoubt-agent'), 'utf8');

describe('the document that installs the agent', () => {
  it('installs it where there was none, in a directory that need not exist', () => {
    expect(install('1.0')).toMatchObject({ exit: 0 });
    expect(current()).toBe(agentOf('1.0'));
    expect(readlinkSync(join(directory, 'current'))).toBe('releases/1.0');
    expect(statSync(join(directory, 'current', 'redoubt-agent')).mode & 0o777).toBe(0o755);
  });

  it('runs the new agent before it takes over', () => {
    expect(install('1.0').stdout).toMatch(/^1\.0\n/);
  });

  it('keeps the release before, and a link to it, and removes older ones', () => {
    for (const version of ['1.0', '1.1', '1.2']) expect(install(version).exit).toBe(0);
    expect(readlinkSync(join(directory, 'current'))).toBe('releases/1.2');
    expect(readlinkSync(join(directory, 'previous'))).toBe('releases/1.1');
    expect(readdirSync(join(directory, 'releases')).sort()).toEqual(['1.1', '1.2']);
  });

  it('may be run again without losing the release before', () => {
    for (const version of ['1.0', '1.1', '1.1']) expect(install(version).exit).toBe(0);
    expect(readlinkSync(join(directory, 'previous'))).toBe('releases/1.0');
    expect(current()).toBe(agentOf('1.1'));
  });

  it('changes nothing where what was downloaded has another digest, and does not keep it', () => {
    install('1.0');
    const { exit, stderr, downloads } = install('1.1', agentOf('1.1'), 'something else');
    expect(errorCodeOfExit(exit ?? 0)).toBe('ObjectTampered');
    expect(stderr).toContain('nothing was changed');
    expect(current()).toBe(agentOf('1.0'));
    expect(readdirSync(join(directory, 'releases'))).toEqual(['1.0']);
    expect(readdirSync(downloads)).toEqual([]);
  });

  it('names the host policy where nothing was downloaded, and changes nothing', () => {
    install('1.0');
    const document = installAgentDocument({ url: 'https://s3.example/agent', sha256: '0', version: '1.1' });
    const { exit, stderr } = runScript(document, { AgentDirectory: directory }, mkdtempSync(join(root, 'empty-')));
    expect(errorCodeOfExit(exit ?? 0)).toBe('RepositoryRefused');
    expect(stderr).toContain('host policy');
    expect(readdirSync(join(directory, 'releases'))).toEqual(['1.0']);
  });

  it('changes nothing where the new agent does not run on this host', () => {
    install('1.0');
    expect(install('1.1', agentOf('1.1', 126)).exit).not.toBe(0);
    expect(readlinkSync(join(directory, 'current'))).toBe('releases/1.0');
  });

  it('lets an agent that runs meanwhile keep its file', () => {
    install('1.0');
    const before = statSync(join(directory, 'current', 'redoubt-agent')).ino;
    install('1.0');
    expect(statSync(join(directory, 'current', 'redoubt-agent')).ino).not.toBe(before);
  });

  it('says what to update where the SSM agent is too old to hand parameters over', () => {
    const document = installAgentDocument({ url: 'https://s3.example/agent', sha256: '0', version: '1.0' });
    const { exit, stderr } = runScript(document, {}, root);
    expect(exit).not.toBe(0);
    expect(stderr).toContain('3.3.2746.0');
    expect(existsSync(directory)).toBe(false);
  });

  it('downloads one file, from the address of the agent', () => {
    const document = installAgentDocument({ url: 'https://s3.example/agent', sha256: '0', version: '1.0' });
    const [download] = document.mainSteps;
    expect(download).toMatchObject({
      action: 'aws:downloadContent',
      inputs: { sourceType: 'S3', sourceInfo: '{"path":"https://s3.example/agent"}', destinationPath: 'redoubt-agent' },
    });
  });
});

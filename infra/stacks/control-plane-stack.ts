import { CfnOutput, Duration, Stack, type StackProps } from 'aws-cdk-lib';
import type { RetentionDays } from 'aws-cdk-lib/aws-logs';
import type { Construct } from 'constructs';
import { Alarms } from '../constructs/alarms.ts';
import { BackupSchedules } from '../constructs/backup-schedules.ts';
import { ControlFunction } from '../constructs/control-function.ts';
import { HostAgent } from '../constructs/host-agent.ts';
import { HostPolicies } from '../constructs/host-policies.ts';
import { Notices } from '../constructs/notices.ts';
import { PublishedAddress } from '../constructs/published-address.ts';
import { RestoreForm } from '../constructs/restore-form.ts';
import { RunEndings } from '../constructs/run-endings.ts';
import { StalenessCheck } from '../constructs/staleness-check.ts';
import { Workflow } from '../constructs/workflow.ts';
import { WorkflowNames } from '../constructs/workflow-names.ts';
import type { DeploymentConfig } from '../deployment-config.ts';
import { backUpACluster } from '../workflows/back-up-a-cluster.ts';
import { restoreACluster } from '../workflows/restore-a-cluster.ts';
import type { RepositoryStack } from './repository-stack.ts';

export interface ControlPlaneStackProps extends StackProps {
  readonly config: DeploymentConfig;
  readonly repository: RepositoryStack;
  /** The built agent. */
  readonly agentFile: string;
  readonly agentVersion: string;
}

/** A command takes 48 hours at most, an approval a day, and what is around them minutes. */
const WORKFLOW_LIMIT = Duration.days(4);

/** Everything that can be thrown away and deployed again: it keeps nothing that is not in the repository or the catalog. */
export class ControlPlaneStack extends Stack {
  constructor(scope: Construct, id: string, props: ControlPlaneStackProps) {
    super(scope, id, props);
    const { config } = props;
    const { repository, catalog, dataKey } = props.repository;
    const controlPlane = config.name;
    const logRetention = config.logDays as RetentionDays;
    this.addStackDependency(props.repository);

    const functionOf = (
      name: string,
      folder: string,
      description: string,
      limits: { readonly timeout: Duration; readonly memoryMegabytes?: number },
    ) => new ControlFunction(this, name, { controlPlane, folder, description, logRetention, ...limits });

    const planBackup = functionOf('PlanBackup', 'plan-backup', 'Decides which backup to take, and prepares it', {
      timeout: Duration.minutes(3),
    });
    const planRestore = functionOf('PlanRestore', 'plan-restore', 'Decides what to restore, and prepares it', {
      timeout: Duration.minutes(3),
    });
    const askHost = functionOf('AskHost', 'ask-host', 'Sends an instruction to a host', {
      timeout: Duration.minutes(1),
    });
    // Looks at every object of the backup.
    const recordBackup = functionOf('RecordBackup', 'record-backup', 'Checks a backup and puts it into the catalog', {
      timeout: Duration.minutes(10),
      memoryMegabytes: 1024,
    });
    const settleRun = functionOf('SettleRun', 'settle-run', 'Gives back what a run held, and clears up after it', {
      timeout: Duration.minutes(5),
    });
    const reportCommandEnd = functionOf('ReportCommandEnd', 'report-command-end', 'Fails the task of a dead command', {
      timeout: Duration.minutes(1),
    });
    const applyCluster = functionOf('ApplyCluster', 'apply-cluster', 'Applies a cluster file', {
      timeout: Duration.minutes(1),
    });
    const queryCatalog = functionOf('QueryCatalog', 'query-catalog', 'Answers what the catalog knows', {
      timeout: Duration.minutes(1),
    });

    const reportStaleClusters = functionOf(
      'ReportStaleClusters',
      'report-stale-clusters',
      'Looks for clusters without a recent backup',
      { timeout: Duration.minutes(1) },
    );

    // Both look at every manifest of a chain, or of many.
    const rewrapKeys = functionOf('RewrapKeys', 'rewrap-keys', 'Moves wrapped keys to another KMS key', {
      timeout: Duration.minutes(10),
    });
    const shredKeys = functionOf('ShredKeys', 'shred-keys', 'Removes every copy of the wrapped keys of a chain', {
      timeout: Duration.minutes(10),
    });

    const workflows = new WorkflowNames(this, 'WorkflowNames', { controlPlane });
    const agent = new HostAgent(this, 'Agent', {
      controlPlane,
      agentFile: props.agentFile,
      agentVersion: props.agentVersion,
    });
    const schedules = new BackupSchedules(this, 'Schedules', { controlPlane, workflows });
    const notices = new Notices(this, 'Notices', { controlPlane, email: config.alarmEmail });
    const restoreForm = new RestoreForm(this, 'RestoreForm', { controlPlane, workflows });

    for (const planner of [planBackup, planRestore]) {
      catalog.grantReadWrite(planner);
      dataKey.grantLend(planner);
      // Taking over from a run that ended without giving back what it held.
      workflows.grantLookAtExecutions(planner);
      agent.grantFollow(planner);
      planner.addEnvironment('HEARTBEAT_SECONDS', String(config.heartbeatSeconds));
    }
    dataKey.grantGenerate(planBackup);
    dataKey.tellKeys(planBackup);
    repository.grantReadBackups(planBackup);
    repository.grantClearLeftovers(planBackup);

    catalog.grantReadWrite(askHost);
    repository.grantWriteInstructions(askHost);
    agent.grantAsk(askHost);
    agent.grantFollow(askHost);

    catalog.grantReadWrite(recordBackup);
    repository.grantReadBackups(recordBackup);

    catalog.grantReadWrite(settleRun);
    repository.grantReadBackups(settleRun);
    repository.grantClearLeftovers(settleRun);
    dataKey.grantTakeBack(settleRun);
    agent.grantFollow(settleRun);
    workflows.tellBackUp(settleRun);

    catalog.grantRead(reportCommandEnd);
    agent.grantFollow(reportCommandEnd);
    workflows.grantFailTasks(reportCommandEnd);

    catalog.grantReadWrite(applyCluster);
    schedules.grantManage(applyCluster);

    catalog.grantRead(queryCatalog);
    repository.grantReadRuns(queryCatalog);

    catalog.grantRead(reportStaleClusters);
    new StalenessCheck(this, 'StalenessCheck', { schedules, reportStaleClusters });

    catalog.grantReadWrite(rewrapKeys);
    repository.grantChangeKeys(rewrapKeys);
    dataKey.grantRewrap(rewrapKeys);

    catalog.grantReadWrite(shredKeys);
    repository.grantShred(shredKeys);
    // What runs that ended without settling still hold.
    dataKey.grantTakeBack(shredKeys);
    workflows.grantLookAtExecutions(shredKeys);
    agent.grantFollow(shredKeys);

    const { stateMachine: backUp } = new Workflow(this, 'BackUp', {
      name: workflows.backUp,
      comment: 'Back up a cluster',
      timeout: WORKFLOW_LIMIT,
      logRetention,
      states: (states) => backUpACluster(states, { planBackup, askHost, recordBackup, settleRun }),
      calls: [planBackup, askHost, recordBackup, settleRun],
    });
    const { stateMachine: restore } = new Workflow(this, 'Restore', {
      name: workflows.restore,
      comment: 'Restore a cluster',
      timeout: WORKFLOW_LIMIT,
      logRetention,
      states: (states) => restoreACluster(states, { planRestore, askHost, settleRun }, notices.topic),
      calls: [planRestore, askHost, settleRun],
    });

    new RunEndings(this, 'RunEndings', { agent, workflows, reportCommandEnd, settleRun });
    const hostPolicies = new HostPolicies(this, 'HostPolicies', { repository, agent, workflows });
    new Alarms(this, 'Alarms', {
      controlPlane,
      notices,
      schedules,
      functions: [
        planBackup,
        planRestore,
        askHost,
        recordBackup,
        settleRun,
        reportCommandEnd,
        applyCluster,
        queryCatalog,
        rewrapKeys,
        shredKeys,
      ],
      startedByEvents: [settleRun, reportCommandEnd],
    });
    const address = new PublishedAddress(this, 'Address', {
      controlPlane,
      address: {
        bucket: repository.bucket.bucketName,
        table: catalog.table.tableName,
        functions: {
          applyCluster: applyCluster.fn.functionName,
          queryCatalog: queryCatalog.fn.functionName,
          rewrapKeys: rewrapKeys.fn.functionName,
          shredKeys: shredKeys.fn.functionName,
        },
        stateMachines: { backup: backUp.stateMachineArn, restore: restore.stateMachineArn },
        documents: {
          runAgent: agent.runDocument,
          installAgent: agent.installDocument,
          restore: restoreForm.document,
        },
        hostPolicy: hostPolicies.host.managedPolicyArn,
        dataKey: dataKey.key.keyArn,
      },
    });

    new CfnOutput(this, 'ControlPlaneParameter', {
      description: 'Where the redoubt command finds everything',
      value: address.parameterName,
    });
    new CfnOutput(this, 'HostPolicyArn', {
      description: 'Attach it to the role of every host, and tag the role and the instance redoubt-cluster=<cluster>',
      value: hostPolicies.host.managedPolicyArn,
    });
    new CfnOutput(this, 'RestoreHostPolicyArn', {
      description: 'Attach it too where a host receives restores of other clusters',
      value: hostPolicies.restoreHost.managedPolicyArn,
    });
  }
}

import { RemovalPolicy } from 'aws-cdk-lib';
import { AttributeType, BillingMode, ProjectionType, Table, TableEncryption } from 'aws-cdk-lib/aws-dynamodb';
import { Construct } from 'constructs';
import { tableLayout } from '#core/table-layout.ts';
import type { ControlFunction } from './control-function.ts';

/** The one table: an index over manifests, plus leases and runs. It can be rebuilt, but it is not thrown away lightly. */
export class Catalog extends Construct {
  readonly table: Table;

  constructor(scope: Construct, id: string) {
    super(scope, id);
    this.table = new Table(this, 'Table', {
      partitionKey: { name: 'pk', type: AttributeType.STRING },
      sortKey: { name: 'sk', type: AttributeType.STRING },
      billingMode: BillingMode.PAY_PER_REQUEST,
      // A customer key would need a kms:Decrypt for every function; no plaintext key is in the table.
      encryption: TableEncryption.AWS_MANAGED,
      pointInTimeRecoverySpecification: { pointInTimeRecoveryEnabled: true },
      timeToLiveAttribute: tableLayout.expiry,
      deletionProtection: true,
      removalPolicy: RemovalPolicy.RETAIN,
    });
    this.table.addGlobalSecondaryIndex({
      indexName: tableLayout.listIndex.name,
      partitionKey: { name: tableLayout.listIndex.partition, type: AttributeType.STRING },
      sortKey: { name: tableLayout.listIndex.sort, type: AttributeType.STRING },
      projectionType: ProjectionType.ALL,
    });
  }

  grantRead(fn: ControlFunction): void {
    fn.addEnvironment('TABLE_NAME', this.table.tableName);
    fn.allow({
      actions: ['dynamodb:GetItem', 'dynamodb:BatchGetItem', 'dynamodb:Query'],
      resources: [this.table.tableArn],
    });
    fn.allow({
      actions: ['dynamodb:Query'],
      resources: [`${this.table.tableArn}/index/${tableLayout.listIndex.name}`],
    });
  }

  /** No function may delete or scan: what is of no use any more expires. */
  grantReadWrite(fn: ControlFunction): void {
    this.grantRead(fn);
    fn.allow({
      actions: ['dynamodb:PutItem', 'dynamodb:UpdateItem', 'dynamodb:ConditionCheckItem'],
      resources: [this.table.tableArn],
    });
  }
}

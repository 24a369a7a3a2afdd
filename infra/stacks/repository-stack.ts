import { Stack, type StackProps } from 'aws-cdk-lib';
import type { Construct } from 'constructs';
import { BackupRepository } from '../constructs/backup-repository.ts';
import { Catalog } from '../constructs/catalog.ts';
import { DataKey } from '../constructs/data-key.ts';
import type { DeploymentConfig } from '../deployment-config.ts';

export interface RepositoryStackProps extends StackProps {
  readonly config: DeploymentConfig;
}

/** What must survive everything else: the bytes, the key that opens them, and the index. Nothing in it is ever deleted with the stack. */
export class RepositoryStack extends Stack {
  readonly repository: BackupRepository;
  readonly catalog: Catalog;
  readonly dataKey: DataKey;

  constructor(scope: Construct, id: string, props: RepositoryStackProps) {
    super(scope, id, { terminationProtection: true, ...props });
    const { config } = props;
    this.repository = new BackupRepository(this, 'Repository', {
      controlPlane: config.name,
      noncurrentDays: config.noncurrentDays,
      runsDays: config.runsDays,
      objectLock: config.objectLock,
    });
    this.catalog = new Catalog(this, 'Catalog');
    this.dataKey = new DataKey(this, 'DataKey', {
      controlPlane: config.name,
      multiRegion: config.multiRegionKey,
      otherKeys: config.otherKeys,
    });
  }
}

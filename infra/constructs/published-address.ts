import { Stack } from 'aws-cdk-lib';
import { StringParameter } from 'aws-cdk-lib/aws-ssm';
import { Construct } from 'constructs';
import { type ControlPlaneAddress, controlPlaneParameter } from '#core/control-plane-address.ts';

export interface PublishedAddressProps {
  readonly controlPlane: string;
  readonly address: ControlPlaneAddress;
}

/** The one place where an operator's tools find the control plane. */
export class PublishedAddress extends Construct {
  readonly parameterName: string;

  constructor(scope: Construct, id: string, { controlPlane, address }: PublishedAddressProps) {
    super(scope, id);
    this.parameterName = controlPlaneParameter(controlPlane);
    new StringParameter(this, 'Parameter', {
      parameterName: this.parameterName,
      description: `Where everything of the Redoubt control plane ${controlPlane} is`,
      stringValue: Stack.of(this).toJsonString(address),
    });
  }
}

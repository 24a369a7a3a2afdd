/** One key of a keyring whose format is known. */
export interface KeyringKey {
  /** `INNODBKey-<server uuid>-<n>`, or the id of a MariaDB key file's line. */
  readonly name: string;
  readonly bytes: Buffer;
}

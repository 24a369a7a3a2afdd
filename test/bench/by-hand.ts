import { PARALLEL, PREPARE_MEMORY } from './bench-chain.ts';
import type { BenchServer } from './bench-server.ts';

/** The awscli of Debian; a shim of a Python environment may come first on the PATH. */
const AWS = '/usr/bin/aws';

/** What a database administrator writes today, and the bench compares with. The engine gets the same options on both sides. */
export class ByHand {
  readonly #server: BenchServer;
  readonly #origin: string;
  readonly #passwordFile: string;

  constructor(server: BenchServer, origin: string, passwordFile: string) {
    this.#server = server;
    this.#origin = origin;
    this.#passwordFile = passwordFile;
  }

  /** The engine's stream on standard output; an increment from `fromLsn`. `directory` gets its checkpoints. */
  engine(directory: string, fromLsn?: string): string {
    return [
      `mariadb-backup --defaults-file='${this.#server.optionFile}' --backup --stream=xbstream --parallel=${PARALLEL}`,
      `--socket='${this.#server.server.socket}' --datadir='${this.#server.server.dataDirectory}'`,
      `--target-dir='${directory}' --extra-lsndir='${directory}'`,
      ...(fromLsn === undefined ? [] : [`--incremental-lsn=${fromLsn}`]),
    ].join(' ');
  }

  upload(directory: string, name: string, fromLsn?: string): string {
    return `${this.engine(directory, fromLsn)} | zstd -q -T0 | openssl enc -aes-256-ctr -pbkdf2 -pass 'file:${this.#passwordFile}' | ${this.#copy('-', name)}`;
  }

  /** Everything under `names` into `directory`/0, 1, …, and prepared in `directory`/0. */
  restore(directory: string, names: readonly string[]): string {
    const into = (index: number): string => `'${directory}/${index}'`;
    const memory = `--use-memory=${PREPARE_MEMORY}`;
    return [
      ...names.map(
        (name, index) =>
          `mkdir -p ${into(index)}; ${this.#copy(name, '-')} | openssl enc -d -aes-256-ctr -pbkdf2 -pass 'file:${this.#passwordFile}' | zstd -q -d | mbstream -x -C ${into(index)}`,
      ),
      ...names.map((_, index) =>
        index === 0
          ? `mariadb-backup --prepare ${memory} --target-dir=${into(0)}`
          : `mariadb-backup --prepare ${memory} --target-dir=${into(0)} --incremental-dir=${into(index)}`,
      ),
    ].join('\n');
  }

  /**
   * Unsigned, and so in its favour: over plain HTTP the command would hash every part with SHA-256 for the signature, which over TLS it does not.
   */
  #copy(from: string, to: string): string {
    const place = (name: string): string => (name === '-' ? name : `'s3://bench/by-hand/${name}'`);
    return `${AWS} --no-sign-request --region us-east-1 --endpoint-url '${this.#origin}' s3 cp --only-show-errors ${place(from)} ${place(to)}`;
  }
}

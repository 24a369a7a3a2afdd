import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { IncomingMessage } from 'node:http';

/** One request as the local cloud's endpoint got it. */
export interface CountedRequest {
  /** Signing name: `s3`, `kms`, … */
  readonly service: string;
  /** Of the JSON services: the part of `X-Amz-Target` after the dot; of S3: the method, or LIST. */
  readonly operation: string;
}

const CHANNEL = 'http.server.request.start';

/** Notes what comes to `endpoint`, a server of this process, until it is disposed of. Requests of `operatorKey` are people's, not the backup's. */
export class RequestCounter implements Disposable {
  readonly requests: CountedRequest[] = [];
  readonly #port: number;
  readonly #operatorKey: string;

  constructor(endpoint: string, operatorKey: string) {
    this.#port = Number(new URL(endpoint).port);
    this.#operatorKey = operatorKey;
    subscribe(CHANNEL, this.#note);
  }

  [Symbol.dispose](): void {
    unsubscribe(CHANNEL, this.#note);
  }

  readonly #note = (message: unknown): void => {
    const { request } = message as { readonly request: IncomingMessage };
    if (request.socket.localPort !== this.#port) return;
    const credential = /Credential=([^,\s]+)/.exec(request.headers.authorization ?? '')?.[1]?.split('/');
    const service = credential?.at(-2);
    if (service === undefined || credential?.[0] === this.#operatorKey) return;
    const target = String(request.headers['x-amz-target'] ?? '');
    const isList = request.method === 'GET' && /[?&](list-type|uploads)\b/.test(request.url ?? '');
    const operation = target.slice(target.lastIndexOf('.') + 1) || (isList ? 'LIST' : (request.method ?? ''));
    this.requests.push({ service, operation });
  };
}

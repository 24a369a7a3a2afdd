import type { ErrorCode } from '#core/errors.ts';
import { type Manifest, manifestObjects, type StoredObject } from '#core/manifest.ts';
import type { Repository } from '#core/ports/repository.ts';

export interface ObjectsFault {
  readonly code: Extract<ErrorCode, 'ObjectMissing' | 'ObjectTampered'>;
  readonly detail: string;
}

/** Looks at the repository at a time: quick for many segments, and no burst that S3 would slow down. */
const IN_PARALLEL = 32;

const faultOf = async (repository: Repository, object: StoredObject): Promise<ObjectsFault | undefined> => {
  const facts = await repository.look(object.key);
  if (!facts) return { code: 'ObjectMissing', detail: `${object.key} is not in the repository` };
  // A version that was sent can be read for a while after its object was removed or replaced: it must still be the current one.
  if (object.version !== undefined && facts.version !== undefined && facts.version !== object.version)
    return {
      code: 'ObjectTampered',
      detail: `${object.key} is version ${facts.version} now, ${object.version} was sent`,
    };
  if (facts.bytes !== object.bytes)
    return { code: 'ObjectTampered', detail: `${object.key} has ${facts.bytes} bytes, ${object.bytes} were sent` };
  if (facts.sha256 !== undefined && facts.sha256 !== object.sha256)
    return { code: 'ObjectTampered', detail: `${object.key} has another SHA-256 than what was sent` };
  return undefined;
};

/** Looks at every object of a backup; the first that is not there as the manifest says. */
export const objectsFault = async (repository: Repository, manifest: Manifest): Promise<ObjectsFault | undefined> => {
  const objects = manifestObjects(manifest);
  for (let at = 0; at < objects.length; at += IN_PARALLEL) {
    const faults = await Promise.all(objects.slice(at, at + IN_PARALLEL).map((object) => faultOf(repository, object)));
    const fault = faults.find((found) => found !== undefined);
    if (fault) return fault;
  }
  return undefined;
};

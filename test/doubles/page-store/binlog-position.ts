import { emptyPage, pageType, SYSTEM_TYPE } from './page.ts';

/** The page of the system tablespace that knows how far the binary log was written. */
export const POSITION_PAGE = 5;
const AT = 100;
const LONGEST_NAME = 100;

export interface BinlogPosition {
  readonly file: string;
  readonly position: number;
}

export const readPosition = (page: Buffer): BinlogPosition | undefined => {
  if (pageType(page) !== SYSTEM_TYPE) return undefined;
  const name = page.subarray(AT + 4, AT + 4 + LONGEST_NAME);
  return { position: page.readUInt32BE(AT), file: name.toString('latin1', 0, name.indexOf(0)) };
};

export const writePosition = (page: Buffer, { file, position }: BinlogPosition): void => {
  if (pageType(page) !== SYSTEM_TYPE) emptyPage(0, POSITION_PAGE, SYSTEM_TYPE).copy(page);
  page.writeUInt32BE(position, AT);
  page.fill(0, AT + 4, AT + 4 + LONGEST_NAME);
  page.write(file, AT + 4, LONGEST_NAME - 1, 'latin1');
};

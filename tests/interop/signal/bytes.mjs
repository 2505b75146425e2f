import { randomInt } from 'node:crypto';

/** Public keys travel as 32 bytes here; the packages put the type byte 05 in front. */
export const bare = (key) => Buffer.from(key).subarray(-32);
export const typed = (key) => Buffer.concat([Buffer.from([5]), key]);

/** A key id: 24 bits, never 0. */
export const random24 = () => randomInt(1, 1 << 24);

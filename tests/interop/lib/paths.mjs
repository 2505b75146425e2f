import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const interop = join(dirname(fileURLToPath(import.meta.url)), '..');
export const root = join(interop, '..', '..');
export const runtimes = process.env.PARLEY_RUNTIMES ?? join(root, 'build/runtimes');

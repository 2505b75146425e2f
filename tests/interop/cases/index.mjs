// Every case, in the order in which one builds on the other.
import { simCases } from './sim.mjs';

export const allCases = [...simCases];

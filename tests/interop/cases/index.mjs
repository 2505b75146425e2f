// Every case, in the order in which one builds on the other.
import { mcpCases } from '../mcp/cases.mjs';
import { inspectorCases } from '../mcp/inspector.mjs';
import { readmeCases } from '../mcp/readme.mjs';
import { faultCases } from './faults.mjs';
import { killCases } from './kill9.mjs';
import { lifeCases } from './life.mjs';
import { mainCases } from './main.mjs';
import { proxyCases } from './proxy.mjs';
import { sendCases } from './send.mjs';
import { signalCases } from './signal.mjs';
import { simCases } from './sim.mjs';
import { tlsCases } from './tls.mjs';
import { wireCases } from './wire.mjs';

export const allCases = [...wireCases, ...signalCases, ...simCases, ...mcpCases, ...inspectorCases, ...readmeCases, ...mainCases, ...sendCases, ...lifeCases, ...tlsCases, ...proxyCases, ...faultCases, ...killCases];

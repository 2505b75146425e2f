/* A port of the loopback for a program that is about to start. */
#pragma once

/* Below the ports that the kernel gives to outgoing connections, and in ten of this process's own,
 * so that neither a client nor a test beside this one takes it before the program does. 0: none. */
int rig_port_free(void);

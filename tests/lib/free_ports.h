/* Ports for nodes that a C test starts in its own process. */
#pragma once

/* A listening socket of loopback, on a port that it chooses. */
int port_listener(unsigned *port);
/* n different ports that were free a moment ago. */
void free_ports(unsigned *ports, unsigned n);

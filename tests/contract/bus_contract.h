/* The contract of broker/bus.h as tests that every adapter passes: the real mesh, and the simulator's bus. */
#pragma once

#include "bus_probe.h"

/* Runs all of it; the number of failed tests, as cmocka's. */
int bus_contract_run(const struct bus_adapter *adapter);

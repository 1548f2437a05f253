/* The settings and handlers of a node to be (include/fanmesh/node.h, handler.h), as the command line and fm_start see them.
 *
 * -- one thread at a time -- */
#pragma once

#include "../settings/settings.h"
#include "../post/question.h"

#include "fanmesh/node.h"

struct fm_config {
    struct fm_settings settings;
    struct fm_report report;
    struct fm_option_set set;
    bool whole;          /* everything that depends on other options is filled in and checked */
    bool of_process;     /* the process is the node's: nobody else makes calls of it, and it ends with the node */
    struct fm_args args; /* of_process: the command line, which HUP reads again */
    struct fm_handlers handlers;
    struct fm_buf start; /* why the last start failed */
    struct fm_buf why;   /* fm_config_why's text */
};

/* For settings that were loaded whole, of a process that is the node's. NULL without memory. */
struct fm_config *fm_config_of_process(void);
/* Fills in and checks, once. False: the report says why. */
FM_MUST_CHECK bool fm_config_finish(struct fm_config *config);

/* The page of pictures (load/report.html), which is part of the program.
 *
 * -- any thread -- */
#pragma once

#include "../../broker/bytes.h"

/* The page with this result, a JSON object, in it. FM_E_IO, errno says why. */
FM_MUST_CHECK enum fm_err fm_report_write(const char *path, struct fm_slice json);

/* The settings file and the rules in it: any bytes give settings or errors, and what is printed can be read again. */
#include "../../gateway/settings/settings.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct fm_settings s;
    struct fm_report report = {0};
    struct fm_option_set set;
    struct fm_buf out = {0};
    if (!fm_settings_init(&s, &report, &set))
        abort();
    fm_settings_text(&set, &s, "fuzz", fm_slice_of(data, n));
    if (report.n_errors == 0) {
        fm_settings_derive(&set, &s);
        fm_settings_check(&set, &s);
        fm_settings_print(&out, &s, "fuzz");
        fm_rules_match(s.rules, fm_slice_of(data, n < FM_TOPIC_MAX ? n : FM_TOPIC_MAX));
    }
    fm_buf_fini(&out);
    fm_settings_fini(&s);
    fm_report_fini(&report);
    return 0;
}

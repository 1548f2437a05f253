#include "gap_json.h"

void fm_gap_members(struct fm_buf *b, const struct fm_gap *gap)
{
    fm_buf_slice(b, FM_LIT("\"reason\":"));
    fm_buf_json(b, fm_slice_str(fm_gap_reason_text(gap->reason)));
    if (gap->origin) {
        char origin[FM_ORIGIN_TEXT_MAX + 1];
        fm_origin_print(gap->origin, origin);
        fm_buf_printf(b, ",\"origin\":\"%s\",\"from\":%llu,\"to\":", origin, (unsigned long long)gap->from);
        if (gap->to == FM_GAP_OPEN)
            fm_buf_str(b, "null");
        else
            fm_buf_dec(b, gap->to);
    } else {
        fm_buf_slice(b, FM_LIT(",\"origin\":null,\"from\":null,\"to\":null"));
    }
    if (gap->reason == FM_GAP_SLOW)
        fm_buf_printf(b, ",\"skipped\":%llu", (unsigned long long)gap->skipped);
}

#include "framing.h"

const struct fm_framing *const fm_framings[] = {
#define X(name) &fm_framing_##name,
    FM_FRAMINGS(X)
#undef X
};

void fm_template_put(struct fm_buf *out, const char *text, struct fm_slice topic, struct fm_slice payload)
{
    while (*text) {
        const char *mark = strchrnul(text, '{');
        fm_buf_put(out, text, (size_t)(mark - text));
        if (strncmp(mark, FM_TOPIC_MARK, sizeof FM_TOPIC_MARK - 1) == 0) {
            fm_buf_slice(out, topic);
            text = mark + sizeof FM_TOPIC_MARK - 1;
        } else if (strncmp(mark, FM_PAYLOAD_MARK, sizeof FM_PAYLOAD_MARK - 1) == 0) {
            fm_buf_slice(out, payload);
            text = mark + sizeof FM_PAYLOAD_MARK - 1;
        } else {
            if (*mark)
                fm_buf_u8(out, '{');
            text = mark + (*mark != 0);
        }
    }
}

#include "user_topic.h"

#include <string.h>

bool fm_user_topic(const char *pattern, struct fm_slice user, uint8_t out[FM_TOPIC_MAX], struct fm_slice *topic)
{
    static const char hole[] = "{user}";
    const char *at = pattern ? strstr(pattern, hole) : NULL;
    if (!at)
        return false;
    struct fm_slice head = fm_slice_of(pattern, (size_t)(at - pattern)), tail = fm_slice_str(at + sizeof hole - 1);
    if (head.n + user.n + tail.n > FM_TOPIC_MAX)
        return false;
    memcpy(out, head.p, head.n);
    if (user.n)
        memcpy(out + head.n, user.p, user.n);
    if (tail.n)
        memcpy(out + head.n + user.n, tail.p, tail.n);
    *topic = fm_slice_of(out, head.n + user.n + tail.n);
    return true;
}

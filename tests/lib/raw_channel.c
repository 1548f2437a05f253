#include "raw_client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

void raw_join_with(struct raw_client *c, const char *topic, const char *params)
{
    char text[256], want[256];
    snprintf(text, sizeof text, "[\"j\",\"r\",\"%s\",\"phx_join\",%s]", topic, params);
    snprintf(want, sizeof want, "[\"j\",\"r\",\"%s\",\"phx_reply\",{\"status\":\"ok\"", topic);
    raw_text(c, text);
    struct raw_message m = raw_next(c);
    if (strncmp((const char *)m.bytes, want, strlen(want)) != 0)
        fail_msg("%s", m.bytes);
    free(m.bytes);
}

void raw_join(struct raw_client *c, const char *topic)
{
    raw_join_with(c, topic, "{}");
}

void raw_publish(struct raw_client *api, const char *const *topics, size_t topics_n, uint64_t from, size_t n, size_t filler)
{
    struct fm_buf json = {0}, request = {0};
    static char body[1 << 18];
    for (size_t i = 0; i < n; i++) {
        fm_buf_printf(&json, "{\"topic\":\"%s\",\"event\":\"e\",\"payload\":{\"i\":%zu,\"x\":\"", topics[i % topics_n], (size_t)from + i);
        for (size_t k = 0; k < filler; k++)
            fm_buf_u8(&json, 'x');
        fm_buf_str(&json, "\"}}\n");
    }
    fm_buf_printf(&request,
                  "POST /api/publish/batch HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-ndjson\r\nContent-Length: %zu\r\n\r\n",
                  json.n);
    fm_buf_slice(&request, fm_buf_view(&json));
    raw_send(api, request.p, request.n);
    fm_buf_fini(&json);
    fm_buf_fini(&request);
    unsigned status = raw_answer(api, body, sizeof body);
    if (status / 100 != 2)
        fail_msg("%u %s", status, body);
}

long raw_next_i(struct raw_client *c)
{
    struct raw_message m = raw_next(c);
    long i = -2;
    if (m.opcode == 8)
        i = -3;
    if (m.opcode == 1) {
        const char *at = strstr((const char *)m.bytes, "{\"i\":");
        if (at)
            i = strtol(at + 5, NULL, 10);
        else if (strstr((const char *)m.bytes, "\"gap\""))
            i = -1;
        else
            fail_msg("%s", m.bytes);
    }
    free(m.bytes);
    return i;
}

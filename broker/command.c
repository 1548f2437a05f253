/* A command as bytes: a version, then its fields in the order of struct fm_cluster_command. */
#include "command.h"

#include <assert.h>

enum { VERSION = 1 };

/* ---- writing ---- */

void fm_command_write(struct fm_buf *b, const struct fm_cluster_command *c)
{
    assert(c->user.n <= FM_USER_MAX && c->topic.n <= FM_TOPIC_MAX && c->text.n <= FM_COMMAND_TEXT_MAX);
    assert(c->at_ms <= FM_TIME_MAX && c->age_ms <= FM_AGE_MAX && c->keep_ms <= FM_COMMAND_KEEP_MAX);
    fm_buf_u8(b, VERSION);
    fm_buf_varint(b, c->kind);
    fm_buf_id(b, c->id);
    fm_buf_varint(b, c->at_ms);
    fm_buf_varint(b, c->age_ms);
    fm_buf_varint(b, c->keep_ms);
    fm_buf_sized(b, c->user);
    fm_buf_sized(b, c->topic);
    fm_buf_id(b, c->connection);
    fm_buf_varint(b, c->number);
    fm_buf_sized(b, c->text);
    fm_buf_varint(b, c->upto.n);
    for (uint32_t i = 0; i < c->upto.n; i++)
        fm_buf_id(b, c->upto.at[i]);
}

/* ---- reading ---- */

static uint64_t number_read(struct fm_rd *r, uint64_t max)
{
    uint64_t v = fm_rd_varint(r);
    r->bad |= v > max;
    return v;
}

/* Ascending, as a vector is written, so that what is read is written again as the same bytes. */
static enum fm_err upto_read(struct fm_rd *r, struct fm_vector *upto)
{
    uint64_t n = number_read(r, FM_CURSOR_MAX), before = 0;
    for (uint64_t i = 0; i < n && !r->bad; i++) {
        struct fm_id at = fm_rd_id(r);
        if (r->bad || at.seq == 0 || at.origin <= before)
            return FM_E_SYNTAX;
        before = at.origin;
        enum fm_err err = fm_vector_set(upto, at.origin, at.seq);
        if (err)
            return err;
    }
    return FM_OK;
}

enum fm_err fm_command_read(struct fm_slice payload, struct fm_cluster_command *c)
{
    struct fm_rd r = fm_rd_of(payload);
    *c = (struct fm_cluster_command){0};
    uint8_t version = fm_rd_u8(&r);
    if (!r.bad && version != VERSION)
        return version > VERSION ? FM_E_VERSION : FM_E_SYNTAX;
    c->kind = (uint32_t)number_read(&r, UINT32_MAX);
    c->id = fm_rd_id(&r);
    c->at_ms = number_read(&r, FM_TIME_MAX);
    c->age_ms = number_read(&r, FM_AGE_MAX);
    c->keep_ms = number_read(&r, FM_COMMAND_KEEP_MAX);
    c->user = fm_rd_sized(&r, FM_USER_MAX);
    c->topic = fm_rd_sized(&r, FM_TOPIC_MAX);
    c->connection = fm_rd_id(&r);
    c->number = fm_rd_varint(&r);
    c->text = fm_rd_sized(&r, FM_COMMAND_TEXT_MAX);
    enum fm_err err = r.bad || c->kind == 0 ? FM_E_SYNTAX : upto_read(&r, &c->upto);
    if (!err && (r.bad || fm_rd_left(&r)))
        err = FM_E_SYNTAX;
    if (err)
        fm_command_fini(c);
    return err;
}

void fm_command_fini(struct fm_cluster_command *c)
{
    fm_vector_fini(&c->upto);
    *c = (struct fm_cluster_command){0};
}

struct fm_msg *fm_command_message(const struct fm_cluster_command *c, struct fm_slice key)
{
    struct fm_buf b = {0};
    fm_command_write(&b, c);
    struct fm_msg *m =
        b.failed ? NULL
                 : fm_msg_new(FM_COMMAND_TOPIC, FM_COMMAND_EVENT, (struct fm_msg_keys){.idempotency = key}, fm_buf_view(&b), FM_MSG_BINARY);
    fm_buf_fini(&b);
    return m;
}

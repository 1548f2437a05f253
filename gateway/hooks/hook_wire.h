/* What the backend of hooks is sent and what it answers: JSON, and a signature over it. Pure. docs/hooks.md is the other side of it.
 *
 * -- any thread -- */
#pragma once

#include "hooks.h"

struct fm_hook_sender {
    const char *node; /* its name, and */
    uint64_t incarnation;
};

/* A question's body: one object. id: the same at every retry. now_ms: Unix time. */
void fm_hook_write_ask(struct fm_buf *out, const struct fm_hook_sender *from, const struct fm_question_item *q, uint64_t id,
                       uint64_t ts_ms);
/* One element of the array that notices are sent in. */
void fm_hook_write_told(struct fm_buf *out, const struct fm_hook_sender *from, const struct fm_told *told);

/* "X-Fanmesh-Signature: t=...,v1=...", with a v1 for each of the secrets, which spaces separate; nothing where there is none. As text with
 * a zero byte. */
void fm_hook_sign(struct fm_buf *out, const char *secrets, uint64_t unix_s, struct fm_slice body);

enum { FM_HOOK_WHY_MAX = 160 };

/* Reads the answer to a question into a verdict, what is said, what is broadcast instead, and whose the connection is. FM_E_NOMEM;
 * FM_E_BAD_ANSWER: `why` says what is wrong with it, `out` is unchanged. */
FM_MUST_CHECK enum fm_err fm_hook_answer_read(enum fm_question_kind kind, struct fm_slice text, uint32_t message_max, uint64_t now_s,
                                              struct fm_answer *out, char why[FM_HOOK_WHY_MAX]);

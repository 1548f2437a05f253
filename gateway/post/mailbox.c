#include "mailbox.h"
#include "question.h"

#include <sys/eventfd.h>
#include <unistd.h>

void fm_mailbox_ring(const struct fm_mailbox *m)
{
    ssize_t n = write(m->bell, &(uint64_t){1}, sizeof(uint64_t));
    (void)n; /* it fails only when it is rung more often than 2^64 times */
}

static void ring(void *mailbox)
{
    fm_mailbox_ring(mailbox);
}

enum fm_err fm_mailbox_init(struct fm_mailbox *m, size_t bytes_max)
{
    m->bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (m->bell < 0)
        return FM_E_IO;
    enum fm_err err = fm_inbox_init(&m->inbox, bytes_max, ring, m);
    if (err)
        close(m->bell);
    return err;
}

void fm_mailbox_fini(struct fm_mailbox *m)
{
    fm_inbox_fini(&m->inbox, fm_question_item_free);
    close(m->bell);
}

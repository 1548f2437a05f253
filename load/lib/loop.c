#include "loop.h"

#include <unistd.h>

enum { EVENTS = 512 };

enum fm_err fm_loop_init(struct fm_loop *loop)
{
    loop->epoll = epoll_create1(EPOLL_CLOEXEC);
    return loop->epoll < 0 ? FM_E_IO : FM_OK;
}

void fm_loop_fini(struct fm_loop *loop)
{
    if (loop->epoll >= 0)
        close(loop->epoll);
    loop->epoll = -1;
}

enum fm_err fm_loop_add(struct fm_loop *loop, int fd, uint32_t events, struct fm_handler *h)
{
    struct epoll_event e = {.events = events, .data.ptr = h};
    return epoll_ctl(loop->epoll, EPOLL_CTL_ADD, fd, &e) ? FM_E_IO : FM_OK;
}

void fm_loop_change(struct fm_loop *loop, int fd, uint32_t events, struct fm_handler *h)
{
    struct epoll_event e = {.events = events, .data.ptr = h};
    epoll_ctl(loop->epoll, EPOLL_CTL_MOD, fd, &e); /* can't fail for a descriptor that was added */
}

void fm_loop_step(struct fm_loop *loop, int timeout_ms)
{
    struct epoll_event events[EVENTS];
    int n = epoll_wait(loop->epoll, events, EVENTS, timeout_ms);
    for (int i = 0; i < n; i++) {
        struct fm_handler *h = events[i].data.ptr;
        h->ready(h, events[i].events);
    }
}

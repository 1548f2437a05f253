/* Mends four flaws of NNG 1.x at link time: CMakeLists.txt has the linker send these calls between files of NNG through here.
 *
 * NNG may be built to measure time on the wall clock (Debian's is). When that is set back by an hour, every limit that is running becomes
 * an hour longer: a node whose question was lost at that moment would repair nothing of that origin until then, and dial no link again. So
 * it is given the steady clock, for reading and for waiting.
 *
 * It sets no limit to a dial. Where packets vanish in silence (a firewall, a split far away) the system goes on asking at longer and longer
 * pauses, and after two minutes of it the next attempt came a minute after the heal. So the system gives up early, and NNG dials again.
 *
 * The other two have one root: an operation that is started just after its pipe was closed is refused, and nobody is told.
 *
 * A message crosses a stream in several transfers: its length, its body, and what is left when the socket took only a part. Each but the
 * first is started by the end of the one before. If it is refused, the message stays under way for ever, and NNG's only thread that takes
 * pipes down waits for it. From then on no pipe of the process goes down: no FM_BUS_DOWN, no redial, and stop hangs. Two nodes with
 * different secrets, which drop each other at every envelope, get there within a second. (NNG 1.6 mended this for receiving, none has for
 * sending.) So a refused transfer is ended with NNG_ECLOSED, as if it had started and been closed then, which NNG handles. The one who
 * starts a transfer is the one who waits for its end, so it cannot be freed meanwhile, nor ended twice.
 *
 * A message that is handed to a closed pipe, or from it to the socket's queue, leaks: anybody who can connect could fill our memory with
 * what we refuse. So it is freed. (Mended for sending by later versions.) */
#include "bus_nng.h"
#include "clock.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>

/* NNG's own, not in its headers; the same in all of 1.x. */
struct nni_pipe;
struct nni_msgq;
void nni_aio_finish_error(nng_aio *aio, int rv);

/* The linker's names: __real_x is x, and every call of x from another file arrives in __wrap_x. */
int __real_connect(int fd, const struct sockaddr *to, socklen_t n);
int __wrap_connect(int fd, const struct sockaddr *to, socklen_t n);
int __real_nni_aio_begin(nng_aio *aio);
void __real_nng_stream_send(nng_stream *stream, nng_aio *aio);
void __real_nng_stream_recv(nng_stream *stream, nng_aio *aio);
void __real_nni_pipe_send(struct nni_pipe *pipe, nng_aio *aio);
void __real_nni_msgq_aio_put(struct nni_msgq *queue, nng_aio *aio);
int __wrap_nni_aio_begin(nng_aio *aio);
void __wrap_nng_stream_send(nng_stream *stream, nng_aio *aio);
void __wrap_nng_stream_recv(nng_stream *stream, nng_aio *aio);
void __wrap_nni_pipe_send(struct nni_pipe *pipe, nng_aio *aio);
void __wrap_nni_msgq_aio_put(struct nni_msgq *queue, nng_aio *aio);
uint64_t __wrap_nni_clock(void);
int __wrap_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex, const struct timespec *until);

/* Milliseconds. */
uint64_t __wrap_nni_clock(void)
{
    return fm_mono_ms();
}

/* NNG waits until a time of its clock. */
int __wrap_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex, const struct timespec *until)
{
    return pthread_cond_clockwait(cond, mutex, CLOCK_MONOTONIC, until);
}

enum { DIAL_REPEATS = 2 }; /* three to seven seconds */

/* Whatever it is that dials; where it is not TCP nothing happens. */
int __wrap_connect(int fd, const struct sockaddr *to, socklen_t n)
{
    (void)setsockopt(fd, IPPROTO_TCP, TCP_SYNCNT, &(int){DIAL_REPEATS}, sizeof(int));
    return __real_connect(fd, to, n);
}

static _Thread_local const nng_aio *refused; /* by the last start on this thread; only compared */

/* NNG asks this, on the thread that starts an operation, whether it may. */
int __wrap_nni_aio_begin(nng_aio *aio)
{
    int rv = __real_nni_aio_begin(aio);
    refused = rv == 0 ? NULL : aio;
    return rv;
}

/* True once. */
static bool was_refused(const nng_aio *aio)
{
    bool it = refused == aio;
    refused = NULL;
    return it;
}

static void end_refused(nng_aio *aio)
{
    if (was_refused(aio))
        nni_aio_finish_error(aio, NNG_ECLOSED); /* calls back on another thread, as it must: we are called with NNG's locks held */
}

static void free_refused(nng_aio *aio)
{
    nng_msg *msg = was_refused(aio) ? fm_nng_take_msg(aio) : NULL;
    if (msg)
        nng_msg_free(msg);
}

/* ---- what NNG calls ---- */

void __wrap_nng_stream_send(nng_stream *stream, nng_aio *aio)
{
    refused = NULL;
    __real_nng_stream_send(stream, aio);
    end_refused(aio);
}

void __wrap_nng_stream_recv(nng_stream *stream, nng_aio *aio)
{
    refused = NULL;
    __real_nng_stream_recv(stream, aio);
    end_refused(aio);
}

void __wrap_nni_pipe_send(struct nni_pipe *pipe, nng_aio *aio)
{
    refused = NULL;
    __real_nni_pipe_send(pipe, aio);
    free_refused(aio);
}

void __wrap_nni_msgq_aio_put(struct nni_msgq *queue, nng_aio *aio)
{
    refused = NULL;
    __real_nni_msgq_aio_put(queue, aio);
    free_refused(aio);
}

/* ---- what libfanmesh needs ---- */

/* A static NNG may be built for programs only: it then refers to the C library's streams in a way that no shared library can. In libfanmesh
 * it refers to these instead (include/CMakeLists.txt). */
FILE *fm_nng_stdout, *fm_nng_stderr;

__attribute__((constructor)) static void streams_set(void)
{
    fm_nng_stdout = stdout;
    fm_nng_stderr = stderr;
}

/* Preloaded into a node: counts what the process has on its heap, so that a test can tell memory that the program holds from memory that
 * the allocator keeps for later, and both from what the node itself accounts for. Passes every call on to glibc.
 *
 * The counts are in the file named by HEAP_COUNT_FILE, which is mapped, so that reading them costs the node nothing: 64 pairs of
 * signed 64-bit numbers, a cache line each: bytes and pieces in use. A thread adds to a slot of its own, as far as they suffice, also for
 * what another allocated; so only the sums over all slots mean something. */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SLOTS = 64 };

struct slot {
    _Alignas(64) _Atomic int64_t bytes;
    _Atomic int64_t pieces;
};

static struct slot early[SLOTS]; /* until the file is mapped, and where there is none */
static struct slot *slots = early;
static _Atomic unsigned threads;
/* Without a call that might itself allocate. */
static _Thread_local unsigned mine __attribute__((tls_model("initial-exec")));

void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);
void __libc_free(void *);

__attribute__((constructor)) static void map_counts(void)
{
    const char *path = getenv("HEAP_COUNT_FILE");
    int fd = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
    if (fd < 0)
        return;
    void *at = MAP_FAILED;
    if (ftruncate(fd, 0) == 0 && ftruncate(fd, sizeof early) == 0)
        at = mmap(NULL, sizeof early, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (at == MAP_FAILED)
        return;
    memcpy(at, early, sizeof early); /* there are no threads yet */
    slots = at;
}

static void count(int64_t bytes, int64_t pieces)
{
    if (!mine)
        mine = 1 + atomic_fetch_add_explicit(&threads, 1, memory_order_relaxed) % SLOTS;
    struct slot *s = &slots[mine - 1];
    atomic_fetch_add_explicit(&s->bytes, bytes, memory_order_relaxed);
    atomic_fetch_add_explicit(&s->pieces, pieces, memory_order_relaxed);
}

static void *given(void *p)
{
    if (p)
        count((int64_t)malloc_usable_size(p), 1);
    return p;
}

void *malloc(size_t n)
{
    return given(__libc_malloc(n));
}

void *calloc(size_t n, size_t size)
{
    return given(__libc_calloc(n, size));
}

void *realloc(void *p, size_t n)
{
    int64_t before = (int64_t)(p ? malloc_usable_size(p) : 0);
    void *q = __libc_realloc(p, n);
    if (q)
        count((int64_t)malloc_usable_size(q) - before, p ? 0 : 1);
    else if (p && n == 0)
        count(-before, -1);
    return q;
}

void free(void *p)
{
    if (!p)
        return;
    count(-(int64_t)malloc_usable_size(p), -1);
    __libc_free(p);
}

void *memalign(size_t align, size_t n)
{
    return given(__libc_memalign(align, n));
}

void *aligned_alloc(size_t align, size_t n)
{
    return memalign(align, n);
}

int posix_memalign(void **out, size_t align, size_t n)
{
    void *p = memalign(align, n);
    if (!p)
        return ENOMEM;
    *out = p;
    return 0;
}

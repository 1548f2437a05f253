/* Fuzz target: commands to the cluster. What is read is written again, no longer than it came, and read again; both writings are
 * equal. */
#include "../../broker/command.h"

#include <stdlib.h>

static void must(bool ok)
{
    if (!ok)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct fm_cluster_command c, again;
    struct fm_buf b = {0}, twice = {0};
    if (fm_command_read(fm_slice_of(data, n), &c) != FM_OK) {
        must(c.upto.n == 0 && c.upto.at == NULL);
        return 0;
    }
    must(c.user.n <= FM_USER_MAX && c.topic.n <= FM_TOPIC_MAX && c.text.n <= FM_COMMAND_TEXT_MAX && c.kind != 0);
    fm_command_write(&b, &c);
    must(!b.failed && b.n <= n);
    must(fm_command_read(fm_buf_view(&b), &again) == FM_OK && again.upto.n == c.upto.n && again.number == c.number);
    fm_command_write(&twice, &again);
    must(!twice.failed && fm_slice_eq(fm_buf_view(&b), fm_buf_view(&twice)));
    fm_buf_fini(&twice);
    fm_command_fini(&again);
    fm_command_fini(&c);
    fm_buf_fini(&b);
    return 0;
}

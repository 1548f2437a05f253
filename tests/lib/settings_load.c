#include "settings_load.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

const char *settings_load_errors(const struct settings_load *l)
{
    static char text[8192];
    snprintf(text, sizeof text, "%.*s", (int)l->report.errors.n, l->report.errors.n ? (const char *)l->report.errors.p : "");
    return text;
}

void settings_load_end(struct settings_load *l)
{
    fm_settings_fini(&l->s);
    fm_report_fini(&l->report);
}

void settings_file_load(struct settings_load *l, const char *text)
{
    *l = (struct settings_load){0};
    assert_true(fm_settings_init(&l->s, &l->report, &l->set));
    fm_settings_text(&l->set, &l->s, "f.ini", fm_slice_str(text));
}

void settings_env_load(struct settings_load *l, char *const *env)
{
    fm_env_apply(&l->set, env);
}

void settings_args_load(struct settings_load *l, char *const *argv)
{
    struct fm_args args;
    int argc = 0;
    while (argv[argc])
        argc++;
    assert_true(fm_args_read(&args, &l->set, argc, argv));
    fm_args_apply(&args, &l->set);
    fm_args_fini(&args);
}

bool settings_whole_load(struct settings_load *l, char *const *argv, char *const *env)
{
    struct fm_from from[FM_OPTIONS_N];
    struct fm_args args;
    int argc = 0;
    *l = (struct settings_load){0};
    struct fm_option_set names = {fm_options, FM_OPTIONS_N, NULL, from, NULL, &l->report};
    while (argv[argc])
        argc++;
    bool ok = fm_args_read(&args, &names, argc, argv) && fm_settings_load(&l->s, &args, env, &l->report);
    fm_args_fini(&args);
    return ok;
}

char *settings_temp_file(const char *text, size_t n)
{
    static char path[64];
    snprintf(path, sizeof path, "/tmp/fanmesh-settings-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, n), n);
    close(fd);
    return path;
}

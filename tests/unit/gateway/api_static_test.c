#include "api_node.h"

#include <sys/stat.h>

static void a_file_is_served_and_nothing_outside_the_folder(void **state)
{
    (void)state;
    char folder[80], file[96], outside[80], link[96];
    snprintf(folder, sizeof folder, "%s/a", node.web_root);
    snprintf(file, sizeof file, "%s/index.html", folder);
    snprintf(link, sizeof link, "%s/link.txt", folder);
    snprintf(outside, sizeof outside, "%s.txt", node.web_root);
    assert_int_equal(mkdir(folder, 0700), 0);
    FILE *f = fopen(file, "we");
    assert_non_null(f);
    fputs("<p>hi", f);
    fclose(f);
    f = fopen(outside, "we");
    assert_non_null(f);
    fclose(f);
    assert_int_equal(symlink(outside, link), 0);
    const char *served[] = {"/a/", "/a/index.html"};
    for (size_t i = 0; i < sizeof served / sizeof served[0]; i++) {
        ask(FM_HTTP_GET, false, served[i], "");
        assert_answer(200, "<p>hi");
        assert_string_equal(got.type, "text/html; charset=utf-8");
    }
    char climb[128];
    snprintf(climb, sizeof climb, "/..%s", strrchr(outside, '/'));
    const char *refused[] = {"/",           "/a",  "/a/none.html", "/a//index.html", "/./a/index.html", "/a/../a/index.html",
                             "/a/link.txt", climb, "a/index.html", "//a/index.html", "/a\\index.html",  "/a/index"};
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        ask(FM_HTTP_GET, false, refused[i], "");
        assert_answer(404, "the files of web_root");
    }
    ask(FM_HTTP_POST, false, "/a/index.html", "");
    assert_answer(405, "method_not_allowed");
    ask(FM_HTTP_GET, true, "/a/index.html", "");
    assert_answer(404, "not_found");
    unlink(file);
    unlink(link);
    unlink(outside);
    rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_file_is_served_and_nothing_outside_the_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

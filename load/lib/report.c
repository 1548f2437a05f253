#include "report.h"

#include <stdio.h>

#define RESULTS "/*RESULTS*/"

extern const char fm_report_page[], fm_report_page_end[];
__asm__(".section .rodata\n"
        ".global fm_report_page, fm_report_page_end\n"
        "fm_report_page:\n"
        ".incbin \"" FM_REPORT_PAGE "\"\n"
        "fm_report_page_end:\n"
        ".byte 0\n"
        ".previous\n");

enum fm_err fm_report_write(const char *path, struct fm_slice json)
{
    const char *mark = strstr(fm_report_page, RESULTS), *behind = mark + sizeof RESULTS - 1;
    FILE *f = fopen(path, "we");
    if (!f)
        return FM_E_IO;
    fwrite(fm_report_page, 1, (size_t)(mark - fm_report_page), f);
    fputc('[', f);
    fwrite(json.p, 1, json.n, f);
    fputc(']', f);
    fwrite(behind, 1, (size_t)(fm_report_page_end - behind), f);
    bool failed = ferror(f);
    return fclose(f) != 0 || failed ? FM_E_IO : FM_OK;
}

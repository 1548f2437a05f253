#include "cli/cli.h"

int main(int argc, char **argv)
{
    return (int)fm_cli_main(argc, argv);
}

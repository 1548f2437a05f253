#include <fanmesh/node.h>

int main(int argc, char **argv)
{
    return fm_main(argc, argv);
}

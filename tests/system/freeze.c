/* freeze PID NAME: stops the thread of this name in a running process, and that thread alone, until standard input ends; says "frozen" when
 * it stands. What no signal can do (SIGSTOP stops all threads) a debugger's interface can. 3: it may not be used here. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

static pid_t thread_find(const char *pid, const char *name)
{
    char path[64], line[32];
    pid_t found = 0;
    snprintf(path, sizeof path, "/proc/%.20s/task", pid);
    DIR *dir = opendir(path);
    for (struct dirent *e; dir && !found && (e = readdir(dir));) {
        snprintf(path, sizeof path, "/proc/%.20s/task/%.20s/comm", pid, e->d_name);
        FILE *f = fopen(path, "r");
        if (f && fgets(line, sizeof line, f) && strncmp(line, name, strlen(name)) == 0 && line[strlen(name)] == '\n')
            found = atoi(e->d_name);
        if (f)
            fclose(f);
    }
    if (dir)
        closedir(dir);
    return found;
}

int main(int argc, char **argv)
{
    pid_t thread = argc == 3 ? thread_find(argv[1], argv[2]) : 0;
    char byte;
    if (!thread) {
        fprintf(stderr, "usage: freeze PID THREAD; the process must have a thread of that name\n");
        return 2;
    }
    if (ptrace(PTRACE_SEIZE, thread, 0, 0) || ptrace(PTRACE_INTERRUPT, thread, 0, 0) || waitpid(thread, NULL, __WALL) != thread) {
        perror("ptrace");
        return errno == EPERM ? 3 : 1;
    }
    puts("frozen");
    fflush(stdout);
    while (read(STDIN_FILENO, &byte, 1) > 0)
        ;
    return ptrace(PTRACE_DETACH, thread, 0, 0) ? 1 : 0;
}

#include "tests/crash/datafile.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { FDS_MAX = 4096 };

static unsigned char fds[FDS_MAX];

enum watched watched(int fd) { return fd >= 0 && fd < FDS_MAX ? (enum watched)fds[fd] : NOT_OURS; }

int open(const char *path, int flags, ...)
{
    static const char name[] = "/data.mdb";
    size_t len = strlen(path);
    mode_t mode = 0;
    va_list rest;

    va_start(rest, flags);
    if (flags & O_CREAT) mode = (mode_t)va_arg(rest, int);
    va_end(rest);
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
    if (fd < 0 || fd >= FDS_MAX) return fd;
    bool ours = len >= sizeof name - 1 && strcmp(path + len - (sizeof name - 1), name) == 0;
    fds[fd] = !ours ? NOT_OURS : (flags & O_DSYNC) == O_DSYNC ? META : DATA;
    return fd;
}

int close(int fd)
{
    if (fd >= 0 && fd < FDS_MAX) fds[fd] = NOT_OURS;
    return (int)syscall(SYS_close, fd);
}

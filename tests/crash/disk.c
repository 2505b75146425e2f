/* Preloaded into parleyd by `tests/crash/run --resource`: a disk that fills up, is slow, or fails a
 * flush, as the file that PARLEY_DISK names says at this moment. Touches the data folder alone. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "tests/crash/datafile.h"

/* What resource.mjs writes and reads, one little-endian word each. */
struct control {
    unsigned full;    /* 1: no space, and the system says so; 2: a quota, which it does not say */
    unsigned slow_ms; /* each flush takes so long */
    unsigned fail_flush; /* 1: the next flush fails; it becomes 2 then */
    unsigned refused;    /* writes that found no space */
    unsigned flushes;
};

static struct control *control;

/* Hard, so that parleyd cannot raise it. */
static void limit_descriptors(void)
{
    const char *text = getenv("PARLEY_DESCRIPTORS");
    rlim_t most = text ? strtoul(text, NULL, 10) : 0;
    struct rlimit limit = {most, most};

    if (most && setrlimit(RLIMIT_NOFILE, &limit) != 0) abort();
}

__attribute__((constructor)) static void open_control(void)
{
    const char *path = getenv("PARLEY_DISK");
    int fd = path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0) : -1;

    if (fd < 0) abort();
    control = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (control == MAP_FAILED) abort();
    syscall(SYS_close, fd);
    limit_descriptors();
}

/* Only what makes the file longer needs space that is not there. */
static bool has_room(int fd, off_t end)
{
    struct stat st;

    if (!control->full || watched(fd) != DATA) return true;
    if (fstat(fd, &st) == 0 && end <= st.st_size) return true;
    control->refused++;
    errno = control->full == 1 ? ENOSPC : EDQUOT;
    return false;
}

static void take_time(void)
{
    struct timespec t = {control->slow_ms / 1000, control->slow_ms % 1000 * 1000000L};

    control->flushes++;
    if (control->slow_ms) nanosleep(&t, NULL);
}

ssize_t pwrite(int fd, const void *data, size_t n, off_t at)
{
    if (!has_room(fd, at + (off_t)n)) return -1;
    if (watched(fd) == META) take_time();
    return syscall(SYS_pwrite64, fd, data, n, at);
}

ssize_t writev(int fd, const struct iovec *v, int count)
{
    off_t end = watched(fd) ? lseek(fd, 0, SEEK_CUR) : 0;

    for (int i = 0; i < count; i++)
        end += (off_t)v[i].iov_len;
    if (!has_room(fd, end)) return -1;
    return syscall(SYS_writev, fd, v, count);
}

static int flush(long call, int fd)
{
    if (watched(fd)) take_time();
    if (watched(fd) && control->fail_flush == 1) {
        control->fail_flush = 2;
        errno = EIO;
        return -1;
    }
    return (int)syscall(call, fd);
}

int fdatasync(int fd) { return flush(SYS_fdatasync, fd); }
int fsync(int fd) { return flush(SYS_fsync, fd); }

int fstatvfs(int fd, struct statvfs *out)
{
    char path[64];

    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int rc = statvfs(path, out);
    if (rc == 0 && control->full == 1) out->f_bavail = out->f_bfree = 0;
    return rc;
}

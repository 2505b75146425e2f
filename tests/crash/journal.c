/* Preloaded into parleyd by tests/crash/powerloss: notes what LMDB writes to its data file, and
 * when a flush has returned, in the journal that PARLEY_JOURNAL names (storage/monitor.h). The
 * server itself adds which turns it calls durable and what it lets out. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "storage/monitor.h"
#include "tests/crash/datafile.h"

enum { PARTS_MAX = 64 /* pages that LMDB writes at once */ };

static int journal = -1;

static void note(enum monitor_record_type type, off_t at, const struct iovec *v, int count)
{
    struct monitor_record head = {.type = type, .a = (uint64_t)at};
    struct iovec parts[PARTS_MAX + 1] = {{&head, sizeof head}};

    if (count > PARTS_MAX) abort();
    for (int i = 0; i < count; i++) {
        parts[i + 1] = v[i];
        head.len += (uint32_t)v[i].iov_len;
    }
    if (syscall(SYS_writev, journal, parts, count + 1) != (long)(sizeof head + head.len)) abort();
}

__attribute__((constructor)) static void open_journal(void)
{
    const char *path = getenv("PARLEY_JOURNAL");

    if (!path) abort();
    journal = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (journal < 0) abort();
    note(MONITOR_START, 0, NULL, 0);
}

/* ---- what LMDB calls ---- */

ssize_t pwrite(int fd, const void *data, size_t n, off_t at)
{
    struct iovec v = {(void *)data, n};
    enum watched what = watched(fd);

    if (what) note(what == META ? MONITOR_META : MONITOR_WRITE, at, &v, 1);
    ssize_t written = syscall(SYS_pwrite64, fd, data, n, at);
    if (what && written != (ssize_t)n) abort(); /* a run that is judged has no failing disk */
    if (what == META) note(MONITOR_META_DURABLE, 0, NULL, 0);
    return written;
}

ssize_t writev(int fd, const struct iovec *v, int count)
{
    if (watched(fd)) note(MONITOR_WRITE, lseek(fd, 0, SEEK_CUR), v, count);
    return syscall(SYS_writev, fd, v, count);
}

static int flush(long call, int fd)
{
    int rc = (int)syscall(call, fd);

    if (watched(fd) && rc == 0) note(MONITOR_BARRIER, 0, NULL, 0);
    return rc;
}

int fdatasync(int fd) { return flush(SYS_fdatasync, fd); }
int fsync(int fd) { return flush(SYS_fsync, fd); }

#include "server/secret_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { PATH_BYTES = 4400 };

static bool write_new(const char *path, struct slice text)
{
    /* Never into a file that somebody else made and may read. */
    unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) return false;
    bool good = write(fd, text.data, text.len) == (ssize_t)text.len && fsync(fd) == 0;
    return close(fd) == 0 && good;
}

/* A rename is durable when its folder is. */
static bool flush_folder(const char *path)
{
    char folder[PATH_BYTES];
    const char *slash = strrchr(path, '/');

    snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path) + 1 : 1,
             slash ? path : ".");
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return false;
    bool good = fsync(fd) == 0;
    close(fd);
    return good;
}

err_t secret_file_write(const char *path, struct slice text)
{
    char temporary[PATH_BYTES];

    snprintf(temporary, sizeof temporary, "%s.new", path);
    if (write_new(temporary, text) && rename(temporary, path) == 0 && flush_folder(path)) return OK;
    return fail(SYSTEM, "cannot write %s: %s", path, strerror(errno));
}

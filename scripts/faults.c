// Lets one call of the system fail, for scripts/faults.sh: with FAULT=rename:3 the third rename does. FAULT_SEEN names a file that
// is made when it happened. Only regular files count for writes, so that what is printed doesn't.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static atomic_long calls;

static int fails(const char *name, int error) {
    const char *fault = getenv("FAULT"), *seen = getenv("FAULT_SEEN");
    size_t length = strlen(name);
    if (!fault || strncmp(fault, name, length) != 0 || fault[length] != ':') return 0;
    if (atomic_fetch_add(&calls, 1) + 1 != atol(fault + length + 1)) return 0;
    if (seen) syscall(SYS_close, syscall(SYS_openat, AT_FDCWD, seen, O_CREAT | O_WRONLY, 0600));
    errno = error;
    return 1;
}

static int is_file(int fd) {
    struct stat about;
    return fstat(fd, &about) == 0 && S_ISREG(about.st_mode);
}

#define NEXT(name) __typeof__(&name) next = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

ssize_t write(int fd, const void *bytes, size_t count) {
    NEXT(write);
    if (!is_file(fd)) return next(fd, bytes, count);
    // A full disk takes what still fits, and then nothing.
    if (fails("write", ENOSPC)) return -1;
    if (fails("short", ENOSPC)) return next(fd, bytes, count / 2) < 0 ? -1 : (errno = ENOSPC, -1);
    return next(fd, bytes, count);
}

int rename(const char *from, const char *to) {
    NEXT(rename);
    return fails("rename", EIO) ? -1 : next(from, to);
}

int fsync(int fd) {
    NEXT(fsync);
    return fails("fsync", EIO) ? -1 : next(fd);
}

int mkdir(const char *path, mode_t mode) {
    NEXT(mkdir);
    return fails("mkdir", ENOSPC) ? -1 : next(path, mode);
}

int fchmod(int fd, mode_t mode) {
    NEXT(fchmod);
    return fails("fchmod", EIO) ? -1 : next(fd, mode);
}

int open64(const char *path, int flags, ...) {
    NEXT(open64);
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0;
    va_end(more);
    return flags & O_CREAT && fails("create", ENOSPC) ? -1 : next(path, flags, mode);
}

/* Which descriptors are LMDB's data file, for the preloaded libraries of this folder: both watch
 * `open` and `close` for it (they are defined here). No threads: LMDB opens before parleyd starts
 * any. */
#ifndef PARLEY_TESTS_CRASH_DATAFILE_H
#define PARLEY_TESTS_CRASH_DATAFILE_H

enum watched {
    NOT_OURS,
    DATA,
    META /* opened with O_DSYNC: LMDB writes its meta pages through it */
};

enum watched watched(int fd);

#endif

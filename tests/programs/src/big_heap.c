/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * big_heap GIB: binds with a heap of that size, in 4 KiB pages.  It writes to every
 * fourth page, so it has the page tables of the whole heap and a quarter of the
 * memory.
 */
#include "common.h"

#include <sys/mman.h>

enum { STEP = 4 * 4096 };

int main(int argc, char **argv)
{
    size_t size = (size_t)(argc > 1 ? atoi(argv[1]) : 1) << 30;
    char *heap = mmap(NULL, size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    REQUIRE(heap != MAP_FAILED);
    REQUIRE(madvise(heap, size, MADV_NOHUGEPAGE) == 0);
    for (size_t at = 0; at < size; at += STEP)
        heap[at] = (char)(at / STEP);
    for (int i = 0; i < 20; i++)
        bind_and_close(1);
    for (size_t at = 0; at < size; at += STEP)
        REQUIRE(heap[at] == (char)(at / STEP));
    return 0;
}

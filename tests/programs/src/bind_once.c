/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * bind_once [COUNT [MODULE]]: binds and closes a socket COUNT times.  With MODULE a
 * function of that module calls bind.  Prints "bound".
 */
#include "common.h"

#include <dlfcn.h>

int main(int argc, char **argv)
{
    int count = argc > 1 ? atoi(argv[1]) : 1;
    void (*binder)(int) = bind_and_close;

    if (argc > 2) {
        void *module = dlopen(argv[2], RTLD_NOW | RTLD_LOCAL);
        REQUIRE(module);
        *(void **)&binder = dlsym(module, "module_bind");
        REQUIRE(binder);
    }
    for (int i = 0; i < count; i++)
        binder(1);
    return puts("bound") < 0;
}

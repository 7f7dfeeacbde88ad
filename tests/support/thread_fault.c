/* Preloaded into the bridge by tests/integration/engines_spec.lua: what a new thread needs is not to be had. While the
 * file exists that LUADUCT_THREAD_FAULT_FILE names, no thread can be made, and of all that the process asks for, the
 * one with the number LUADUCT_THREAD_FAULT_NUMBER (from 1) cannot. While the file exists that LUADUCT_MEMORY_FAULT_FILE
 * names, there is no memory for the magazines of a thread's pools: they are one block of some KiB from calloc. */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#define MAGAZINES_LEAST 2048u
#define MAGAZINES_MOST 65536u

typedef int create_function(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

extern void *__libc_calloc(size_t count, size_t size);

static create_function *real_create;
static const char *thread_file, *memory_file;
static long failing;
static atomic_long asked;

__attribute__((constructor)) static void read_environment(void)
{
    const char *number = getenv("LUADUCT_THREAD_FAULT_NUMBER");
    real_create = (create_function *)dlsym(RTLD_NEXT, "pthread_create");
    thread_file = getenv("LUADUCT_THREAD_FAULT_FILE");
    memory_file = getenv("LUADUCT_MEMORY_FAULT_FILE");
    failing = number ? atol(number) : 0;
}

static int is_there(const char *path)
{
    return path && access(path, F_OK) == 0;
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument)
{
    if (atomic_fetch_add(&asked, 1) + 1 == failing || is_there(thread_file))
        return EAGAIN;
    return real_create(thread, attributes, start, argument);
}

void *calloc(size_t count, size_t size)
{
    if (count == 1 && size >= MAGAZINES_LEAST && size <= MAGAZINES_MOST && is_there(memory_file)) {
        errno = ENOMEM;
        return NULL;
    }
    return __libc_calloc(count, size);
}

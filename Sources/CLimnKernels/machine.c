// What the operating system lets this process use.
#if defined(__linux__)
  #define _GNU_SOURCE
  #include <sched.h>
#endif
#include "limn_kernels.h"
#include <unistd.h>

int limn_allowed_processors(uint8_t *allowed, size_t count) {
  int found = 0;
  for (size_t i = 0; i < count; i++) allowed[i] = 0;
#if defined(__linux__)
  // The kernel refuses sets that are smaller than its own.
  cpu_set_t *set = CPU_ALLOC(count);
  if (!set) return 0;
  if (sched_getaffinity(0, CPU_ALLOC_SIZE(count), set) == 0)
    for (size_t i = 0; i < count; i++)
      if (CPU_ISSET_S(i, CPU_ALLOC_SIZE(count), set)) allowed[i] = 1, found++;
  CPU_FREE(set);
#endif
  return found;
}

size_t limn_last_cache_bytes(void) {
#if defined(_SC_LEVEL3_CACHE_SIZE)
  const long bytes = sysconf(_SC_LEVEL3_CACHE_SIZE);
  return bytes > 0 ? (size_t)bytes : 0;
#else
  return 0;
#endif
}

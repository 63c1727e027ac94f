#define _GNU_SOURCE
#include "libedit.h"

#include <dlfcn.h>
#include <pthread.h>

#ifdef __APPLE__
static const char *const names[] = {"/usr/lib/libedit.3.dylib", "libedit.3.dylib"};
#else
static const char *const names[] = {"libedit.so.2", "libedit.so.0"};  // Debian's name, and everybody else's
#endif

static struct limn_edit edit;
static int is_ready;

// `dlsym` returns a data pointer, which C cannot convert to a function pointer.
static int find(void *library, const char *name, void *function) {
  void *symbol = dlsym(library, name);
  *(void **)function = symbol;
  return symbol != NULL;
}

static void open_library(void) {
  for (size_t i = 0; i < sizeof names / sizeof *names && !is_ready; i++) {
    void *library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    if (!library) continue;
    int found = 1;
#define FIND(name) found = found && find(library, #name, &edit.name);
    LIMN_EDIT_FUNCTIONS(FIND)
#undef FIND
    is_ready = found;
  }
}

const struct limn_edit *limn_edit(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, open_library);
  return is_ready ? &edit : NULL;
}

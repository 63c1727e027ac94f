#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>

#include "libcurl.h"

#ifdef __APPLE__
static const char *const names[] = {"libcurl.4.dylib", "/usr/lib/libcurl.4.dylib"};
#else
static const char *const names[] = {"libcurl.so.4", "libcurl-gnutls.so.4"};
#endif

static struct limn_curl curl;
static int is_ready;

// `dlsym` returns a data pointer, which C cannot convert to a function pointer.
static int find(void *library, const char *name, void *function) {
  void *symbol = dlsym(library, name);
  *(void **)function = symbol;
  return symbol != NULL;
}

static void open_library(void) {
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    void *library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    if (!library) continue;
    int found = 1;
#define FIND(name) found = found && find(library, "curl_" #name, &curl.name);
    LIMN_CURL_FUNCTIONS(FIND)
#undef FIND
    is_ready = found && curl.global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
    if (is_ready) return;
  }
}

const struct limn_curl *limn_curl(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, open_library);
  return is_ready ? &curl : NULL;
}

#pragma once
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

// Libraries that are opened at run time. Their functions are declared here in the house rather than by their own
// headers, so that building limn does not need them either; the declarations are parts of stable binary interfaces.

// The first of these names (NULL ends them) that the system has, else NULL.
static inline void *open_library(const char *const *names) {
  for (; *names; names++) {
    void *library = dlopen(*names, RTLD_NOW | RTLD_LOCAL);
    if (library) return library;
  }
  return NULL;
}

// Stores the function called `name` at `function`, a pointer to a function pointer. Returns whether it exists.
// `dlsym` returns a data pointer, which C cannot convert to a function pointer.
static inline int find_function(void *library, const char *name, void *function) {
  void *symbol = dlsym(library, name);
  *(void **)function = symbol;
  return symbol != NULL;
}

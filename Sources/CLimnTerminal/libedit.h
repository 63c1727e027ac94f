#pragma once
// The header provides types and constants only; the functions are looked up at run time.
#if !__has_include(<histedit.h>)
#error "histedit.h is missing: run `make setup`, or install libedit-dev (Debian) or libedit-devel (Fedora)"
#endif
#include <histedit.h>

#define LIMN_EDIT_FUNCTIONS(F) \
  F(el_init)                   \
  F(el_end)                    \
  F(el_get)                    \
  F(el_set)                    \
  F(el_gets)                   \
  F(el_resize)                 \
  F(el_wgetc)                  \
  F(el_winsertstr)             \
  F(history_init)              \
  F(history_end)               \
  F(history)

struct limn_edit {
#define FIELD(name) __typeof__(&name) name;
  LIMN_EDIT_FUNCTIONS(FIELD)
#undef FIELD
};

// The system's libedit, opened once; NULL if there is none.
const struct limn_edit *limn_edit(void);

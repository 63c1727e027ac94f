#pragma once
// The header provides types and constants only; the functions are looked up at run time.
#define CURL_DISABLE_TYPECHECK
#define CURL_DISABLE_DEPRECATION  // CURLOPT_PROTOCOLS: its successor is newer than some libraries in use
#if !__has_include(<curl/curl.h>)
#error "curl/curl.h is missing: run `make setup`, or install libcurl4-openssl-dev (Debian) or libcurl-devel (Fedora)"
#endif
#include <curl/curl.h>

#define LIMN_CURL_FUNCTIONS(F) \
  F(global_init)               \
  F(easy_init)                 \
  F(easy_setopt)               \
  F(easy_getinfo)              \
  F(easy_strerror)             \
  F(easy_cleanup)              \
  F(multi_init)                \
  F(multi_add_handle)          \
  F(multi_perform)             \
  F(multi_poll)                \
  F(multi_info_read)           \
  F(multi_remove_handle)       \
  F(multi_cleanup)             \
  F(multi_strerror)            \
  F(slist_append)              \
  F(slist_free_all)

struct limn_curl {
#define FIELD(name) __typeof__(&curl_##name) name;
  LIMN_CURL_FUNCTIONS(FIELD)
#undef FIELD
};

// The system's libcurl, opened once; NULL if there is none, or only one older than 7.66 (2019).
const struct limn_curl *limn_curl(void);

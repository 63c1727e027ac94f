#pragma once
#include <stddef.h>
#include <stdint.h>

// One HTTP transfer by libcurl, behind plain calls: curl_easy_setopt is variadic, which Swift cannot call.
// libcurl is opened when the first transfer begins rather than linked, so that limn runs on machines without it.

enum {
  LIMN_TRANSFER_OK = 0,  // the whole response arrived, whatever its HTTP status
  LIMN_TRANSFER_NO_LIBRARY,
  LIMN_TRANSFER_STOPPED,  // by a callback
  LIMN_TRANSFER_BAD_URL,
  LIMN_TRANSFER_BAD_PROTOCOL,  // a redirect to something other than http(s), or a server that does not speak HTTP
  LIMN_TRANSFER_NO_HOST,
  LIMN_TRANSFER_NO_PROXY,
  LIMN_TRANSFER_PROXY_REFUSED,
  LIMN_TRANSFER_NO_CONNECTION,
  LIMN_TRANSFER_REFUSED_ADDRESS,  // by `may_connect`
  LIMN_TRANSFER_CONNECT_TIMEOUT,
  LIMN_TRANSFER_NO_TLS,
  LIMN_TRANSFER_BAD_CERTIFICATE,
  LIMN_TRANSFER_NO_CERTIFICATES,  // the system's certificate authorities cannot be read
  LIMN_TRANSFER_TOO_MANY_REDIRECTS,
  LIMN_TRANSFER_CUT_OFF,  // the connection ended before the response was complete
  LIMN_TRANSFER_BAD_ENCODING,
  LIMN_TRANSFER_OTHER,  // `message` says what
};

struct limn_transfer_request {
  const char *url;
  const char *const *headers;  // "Name: value" each; NULL ends the list
  const char *range;           // "0-99" or "100-"; NULL asks for everything
  const char *socket;          // a Unix socket to connect to instead of the URL's host, or NULL
  const void *body;            // POST these bytes; NULL: GET
  size_t body_bytes;
  long redirects;              // how many to follow; with 0, a redirect is a response like any other
  long connect_milliseconds;   // for name resolution, connecting and the TLS handshake together, at each redirect
  int head_only;               // HEAD instead of GET
  int accepts_compression;     // the body is unpacked before `receive_body` gets it
  int uses_settings;           // proxies from the environment, and ~/.netrc
};

// Called on the thread that runs the transfer, never after limn_transfer_run; nonzero ends the transfer.
struct limn_transfer_events {
  void *context;
  // One line with its line ending: status lines, headers and the empty line after them, of every response on the way.
  int (*receive_header)(void *context, const uint8_t *line, size_t count);
  int (*receive_body)(void *context, const uint8_t *bytes, size_t count);
  // Before each connection, with the resolved address: 4 bytes of IPv4, 16 of IPv6, or none for anything else.
  // Nonzero forbids this address; others of the same host are still tried.
  int (*may_connect)(void *context, const uint8_t *address, size_t count);
  // Several times a second, whether anything arrives or not.
  int (*tick)(void *context);
};

struct limn_transfer {
  int status;           // LIMN_TRANSFER_…
  int system_error;     // errno of a connection that failed, or 0
  long http_status;     // of the last response, or 0
  const char *url;      // the last URL, after redirects
  const char *target;   // where a redirect that was not followed leads, as an absolute URL, or NULL
  const char *message;  // libcurl's own words, when the status is not LIMN_TRANSFER_OK
};

// Runs one transfer and blocks until it is over. NULL when out of memory.
struct limn_transfer *limn_transfer_run(
  const struct limn_transfer_request *request, const struct limn_transfer_events *events);
// Closes the connection. This may block until the system has finished looking up a name.
void limn_transfer_free(struct limn_transfer *transfer);

// Runs `body` on a new thread, on which a broken connection raises no SIGPIPE. Returns 0, or an errno.
int limn_start_transfer_thread(void *(*body)(void *), void *context);

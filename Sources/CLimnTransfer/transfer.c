#define _GNU_SOURCE
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libcurl.h"
#include "limn_transfer.h"

// How often `tick` is called while nothing arrives.
#define TICK_MILLISECONDS 100

struct transfer {
  struct limn_transfer result;  // must come first: the caller holds a pointer to it
  const struct limn_curl *curl;
  const struct limn_transfer_events *events;  // NULL once the transfer is over, because the caller may be gone
  CURL *easy;
  CURLM *multi;
  struct curl_slist *headers;
  int was_stopped, has_refused;
  char message[CURL_ERROR_SIZE];
};

static size_t receive_header(char *line, size_t size, size_t count, void *context) {
  struct transfer *transfer = context;
  const struct limn_transfer_events *events = transfer->events;
  if (events && !events->receive_header(events->context, (const uint8_t *)line, size * count)) return size * count;
  transfer->was_stopped = 1;
  return 0;
}

static size_t receive_body(char *bytes, size_t size, size_t count, void *context) {
  struct transfer *transfer = context;
  const struct limn_transfer_events *events = transfer->events;
  if (events && !events->receive_body(events->context, (const uint8_t *)bytes, size * count)) return size * count;
  transfer->was_stopped = 1;
  return 0;
}

static curl_socket_t open_socket(void *context, curlsocktype purpose, struct curl_sockaddr *address) {
  (void)purpose;
  struct transfer *transfer = context;
  const struct limn_transfer_events *events = transfer->events;
  const uint8_t *bytes = NULL;
  size_t count = 0;
  if (address->family == AF_INET) {
    bytes = (const uint8_t *)&((const struct sockaddr_in *)(const void *)&address->addr)->sin_addr;
    count = 4;
  } else if (address->family == AF_INET6) {
    bytes = (const uint8_t *)&((const struct sockaddr_in6 *)(const void *)&address->addr)->sin6_addr;
    count = 16;
  }
  if (!events || events->may_connect(events->context, bytes, count)) {
    transfer->has_refused = 1;
    return CURL_SOCKET_BAD;
  }
  const int descriptor = socket(address->family, address->socktype, address->protocol);
  if (descriptor < 0) return CURL_SOCKET_BAD;
  fcntl(descriptor, F_SETFD, FD_CLOEXEC);
  return descriptor;
}

static int status_of(CURLcode code, int has_refused) {
  switch (code) {
  case CURLE_OK:
    return LIMN_TRANSFER_OK;
  case CURLE_URL_MALFORMAT:
    return LIMN_TRANSFER_BAD_URL;
  case CURLE_UNSUPPORTED_PROTOCOL:
  case CURLE_WEIRD_SERVER_REPLY:
    return LIMN_TRANSFER_BAD_PROTOCOL;
  case CURLE_COULDNT_RESOLVE_HOST:
    return LIMN_TRANSFER_NO_HOST;
  case CURLE_COULDNT_RESOLVE_PROXY:
    return LIMN_TRANSFER_NO_PROXY;
  case CURLE_COULDNT_CONNECT:
    return has_refused ? LIMN_TRANSFER_REFUSED_ADDRESS : LIMN_TRANSFER_NO_CONNECTION;
  case CURLE_OPERATION_TIMEDOUT:
    return LIMN_TRANSFER_CONNECT_TIMEOUT;
  case CURLE_SSL_CONNECT_ERROR:
    return LIMN_TRANSFER_NO_TLS;
  case CURLE_PEER_FAILED_VERIFICATION:
  case CURLE_SSL_ISSUER_ERROR:
    return LIMN_TRANSFER_BAD_CERTIFICATE;
  case CURLE_SSL_CACERT_BADFILE:
    return LIMN_TRANSFER_NO_CERTIFICATES;
  case CURLE_TOO_MANY_REDIRECTS:
    return LIMN_TRANSFER_TOO_MANY_REDIRECTS;
  case CURLE_PARTIAL_FILE:
  case CURLE_GOT_NOTHING:
  case CURLE_RECV_ERROR:
  case CURLE_SEND_ERROR:
  case CURLE_HTTP2:
  case CURLE_HTTP2_STREAM:
    return LIMN_TRANSFER_CUT_OFF;
  case CURLE_BAD_CONTENT_ENCODING:
    return LIMN_TRANSFER_BAD_ENCODING;
  default:
    return LIMN_TRANSFER_OTHER;
  }
}

static CURLcode set_options(struct transfer *transfer, const struct limn_transfer_request *request) {
  const struct limn_curl *curl = transfer->curl;
  CURL *easy = transfer->easy;
  for (const char *const *header = request->headers; *header; header++) {
    struct curl_slist *longer = curl->slist_append(transfer->headers, *header);
    if (!longer) return CURLE_OUT_OF_MEMORY;
    transfer->headers = longer;
  }
  CURLcode code = CURLE_OK;
#define SET(option, value) \
  if (!code) code = curl->easy_setopt(easy, option, value)
  SET(CURLOPT_ERRORBUFFER, transfer->message);
  SET(CURLOPT_NOSIGNAL, 1L);
  SET(CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
  SET(CURLOPT_REDIR_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
  SET(CURLOPT_URL, request->url);
  SET(CURLOPT_HTTPHEADER, transfer->headers);
  SET(CURLOPT_RANGE, request->range);
  SET(CURLOPT_NOBODY, (long)request->head_only);
  if (request->body) {
    SET(CURLOPT_POSTFIELDS, request->body);
    SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body_bytes);
  }
  if (request->socket) SET(CURLOPT_UNIX_SOCKET_PATH, request->socket);
  SET(CURLOPT_FOLLOWLOCATION, (long)(request->redirects > 0));
  SET(CURLOPT_MAXREDIRS, request->redirects);
  SET(CURLOPT_COOKIEFILE, "");  // no file: what a server sets is sent back to it on the way, and forgotten afterwards
  SET(CURLOPT_CONNECTTIMEOUT_MS, request->connect_milliseconds);
  SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  SET(CURLOPT_HEADERFUNCTION, receive_header);
  SET(CURLOPT_HEADERDATA, transfer);
  SET(CURLOPT_WRITEFUNCTION, receive_body);
  SET(CURLOPT_WRITEDATA, transfer);
  SET(CURLOPT_OPENSOCKETFUNCTION, open_socket);
  SET(CURLOPT_OPENSOCKETDATA, transfer);
  if (request->accepts_compression) SET(CURLOPT_ACCEPT_ENCODING, "");
  if (!request->uses_settings) SET(CURLOPT_PROXY, "");
#undef SET
  // Neither is essential, and some libraries lack them. Without the second, a time-out waits for the system to finish
  // looking up the name.
  if (request->uses_settings) curl->easy_setopt(easy, CURLOPT_NETRC, (long)CURL_NETRC_OPTIONAL);
#if LIBCURL_VERSION_NUM >= 0x075700
  curl->easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
#endif
  return code;
}

static CURLcode perform(struct transfer *transfer) {
  const struct limn_curl *curl = transfer->curl;
  const struct limn_transfer_events *events = transfer->events;
  CURLMcode failure = curl->multi_add_handle(transfer->multi, transfer->easy);
  for (int running = 1; running && !failure;) {
    if (events->tick(events->context)) transfer->was_stopped = 1;
    if (transfer->was_stopped) return CURLE_ABORTED_BY_CALLBACK;
    failure = curl->multi_perform(transfer->multi, &running);
    if (running && !failure) failure = curl->multi_poll(transfer->multi, NULL, 0, TICK_MILLISECONDS, NULL);
  }
  int left;
  const CURLMsg *message = failure ? NULL : curl->multi_info_read(transfer->multi, &left);
  if (message) return message->data.result;
  transfer->result.message = curl->multi_strerror(failure);
  return CURLE_FAILED_INIT;
}

struct limn_transfer *limn_transfer_run(
  const struct limn_transfer_request *request, const struct limn_transfer_events *events) {
  struct transfer *transfer = calloc(1, sizeof *transfer);
  if (!transfer) return NULL;
  struct limn_transfer *result = &transfer->result;
  const struct limn_curl *curl = transfer->curl = limn_curl();
  if (!curl) {
    result->status = LIMN_TRANSFER_NO_LIBRARY;
    return result;
  }
  transfer->events = events;
  transfer->easy = curl->easy_init();
  transfer->multi = curl->multi_init();
  CURLcode code = transfer->easy && transfer->multi ? set_options(transfer, request) : CURLE_OUT_OF_MEMORY;
  if (!code) code = perform(transfer);
  result->status = transfer->was_stopped ? LIMN_TRANSFER_STOPPED : status_of(code, transfer->has_refused);
  if (!result->message) result->message = *transfer->message ? transfer->message : curl->easy_strerror(code);
  if (transfer->easy) {
    long error = 0;
    curl->easy_getinfo(transfer->easy, CURLINFO_OS_ERRNO, &error);
    result->system_error = (int)error;
    curl->easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &result->http_status);
    curl->easy_getinfo(transfer->easy, CURLINFO_EFFECTIVE_URL, &result->url);
    curl->easy_getinfo(transfer->easy, CURLINFO_REDIRECT_URL, &result->target);
    long proxy_status = 0;
    curl->easy_getinfo(transfer->easy, CURLINFO_HTTP_CONNECTCODE, &proxy_status);
    const int is_refused = code && !transfer->was_stopped && proxy_status >= 300 && !result->http_status;
    if (is_refused) result->status = LIMN_TRANSFER_PROXY_REFUSED;
  }
  transfer->events = NULL;
  return result;
}

void limn_transfer_free(struct limn_transfer *result) {
  struct transfer *transfer = (struct transfer *)result;
  const struct limn_curl *curl = transfer ? transfer->curl : NULL;
  if (curl) {
    if (transfer->easy && transfer->multi) curl->multi_remove_handle(transfer->multi, transfer->easy);
    if (transfer->easy) curl->easy_cleanup(transfer->easy);
    if (transfer->multi) curl->multi_cleanup(transfer->multi);
    curl->slist_free_all(transfer->headers);
  }
  free(transfer);
}

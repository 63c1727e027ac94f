#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>

#include "limn_transfer.h"

int limn_start_transfer_thread(void *(*body)(void *), void *context) {
  // A new thread inherits the signal mask of its creator. Some TLS libraries write to connections that were closed,
  // which must not end a program that leaves SIGPIPE at its default.
  sigset_t pipe, before;
  sigemptyset(&pipe);
  sigaddset(&pipe, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &pipe, &before);
  pthread_t thread;
  const int failure = pthread_create(&thread, NULL, body, context);
  if (!failure) pthread_detach(thread);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return failure;
}

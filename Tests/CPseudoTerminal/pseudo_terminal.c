#define _GNU_SOURCE
#define _DARWIN_C_SOURCE
#include "pseudo_terminal.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>

int open_pseudo_terminal(int *terminal) {
  const int person = posix_openpt(O_RDWR | O_NOCTTY);
  if (person < 0 || grantpt(person) != 0 || unlockpt(person) != 0) return -1;
  *terminal = open(ptsname(person), O_RDWR | O_NOCTTY);
  struct winsize size = {.ws_row = 24, .ws_col = 80};
  return *terminal < 0 || ioctl(*terminal, TIOCSWINSZ, &size) != 0 ? -1 : person;
}
